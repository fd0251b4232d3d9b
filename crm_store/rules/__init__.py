"""Pure rules: functions of data and a time that is passed in. No clock, no database, no model."""
