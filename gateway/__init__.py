"""The channels: takes customers' messages in, hands them to the bot in order, and gives the answers back."""
