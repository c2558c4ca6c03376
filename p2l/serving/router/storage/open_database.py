"""Open the database at a URL or path: PostgreSQL or SQLite."""

from p2l.errors import ConfigError
from p2l.serving.router.storage.databases import Database, SqliteDatabase


def is_url(place: str) -> bool:
    """Return whether the place is a PostgreSQL database rather than a file."""
    return place.startswith(("postgresql://", "postgres://"))


def make_database(place: str) -> Database:
    """Return the database at a URL or path; ConfigError for another kind of URL, or without the driver."""
    if is_url(place):
        from p2l.serving.router.storage.postgres import PostgresDatabase

        return PostgresDatabase(place)
    if "://" in place:
        raise ConfigError("--feedback: a path of a SQLite file or postgresql://user@host/database is needed")
    return SqliteDatabase(place)
