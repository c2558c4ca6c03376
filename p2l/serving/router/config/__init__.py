"""The router's configuration: schema, reading, hot reload."""
