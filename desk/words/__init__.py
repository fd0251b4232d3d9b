"""The words of the desk's pages, a module an area: ``WORDS`` maps a key to its Chinese and its English."""
