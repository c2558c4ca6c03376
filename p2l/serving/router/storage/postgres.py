"""PostgreSQL as a database of feedback (extra ``postgres``), with one connection pool for each worker."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import anyio

from p2l.errors import ConfigError
from p2l.extras import missing_extra
from p2l.serving.router.storage.databases import DatabaseError, Row

_POOL_TIMEOUT = 1.0  # seconds for a connection
_STATEMENT_TIMEOUT = 5.0  # seconds
_RECONNECT_TIMEOUT = 3.0  # seconds of backoff; the next statement reconnects at once, so a restart is noticed soon
_SCHEMA_LOCK = 0x70326C  # workers create the tables one after the other


class PostgresDatabase:
    """Checks each connection before use, so that a restart of the server is noticed."""

    def __init__(self, url: str) -> None:
        if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
            raise ConfigError(f"feedback in PostgreSQL needs its driver: {missing_extra('postgres')}")
        import psycopg
        from psycopg_pool import AsyncConnectionPool

        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            form = "postgresql://user@host:port/database, special characters percent-encoded"
            raise ConfigError(f"--feedback: this is not a URL of PostgreSQL; its form is {form}") from None
        logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # its messages quote the connection
        self._errors, self._connection_errors = psycopg.Error, (psycopg.OperationalError, psycopg.InterfaceError)
        self._schema: str | None = None
        self._creating = asyncio.Lock()
        self._client: Any = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=4,
            open=False,
            timeout=_POOL_TIMEOUT,
            reconnect_timeout=_RECONNECT_TIMEOUT,
            check=AsyncConnectionPool.check_connection,
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": 3},
        )

    async def open(self, schema: str) -> None:
        self._schema = schema.replace("integer key", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY").replace(
            " REAL", " DOUBLE PRECISION"
        )
        await self._client.open()

    async def rows(self, statement: str, values: Row = ()) -> list[Row]:
        async with self._cursor() as cursor:
            await cursor.execute(statement.replace("?", "%s"), values)
            rows: list[Row] = await cursor.fetchall()
            return rows

    async def write(self, statement: str, rows: Sequence[Row]) -> int:
        async with self._cursor() as cursor, cursor.connection.transaction():
            await cursor.executemany(statement.replace("?", "%s"), rows)
            return int(cursor.rowcount)

    async def close(self) -> None:
        await self._client.close()

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[Any]:
        """Return a cursor for one statement; DatabaseError for any failure or timeout."""
        try:
            with anyio.fail_after(_STATEMENT_TIMEOUT):
                async with self._client.connection() as connection, connection.cursor() as cursor:
                    await self._create_tables(connection)
                    yield cursor
        except TimeoutError:
            raise DatabaseError("Timeout", retryable=True) from None
        except self._errors as error:
            reason = getattr(error, "sqlstate", None) or type(error).__name__
            raise DatabaseError(reason, retryable=isinstance(error, self._connection_errors)) from None

    async def _create_tables(self, connection: Any) -> None:
        if self._schema is None:
            return
        async with self._creating:
            if self._schema is not None:
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
                    await connection.execute(self._schema)
                self._schema = None
