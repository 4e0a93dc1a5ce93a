"""A workflow cut down to be tried in seconds: a tiny model, made-up data, this machine's processor."""
