"""Put a certificate with its key into a database, or renew it there: database_add.py FILE.DB SERVER.PEM

For the servers trio_database.py and twisted_database.py, which look into it at each handshake.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from tlsprovider import Identity


def main(database: str, path: str) -> None:
    pem = Path(path).read_text(encoding="ascii")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS certificates (name TEXT PRIMARY KEY, pem TEXT NOT NULL)")
        for name in Identity.from_pem(pem).names:
            connection.execute("INSERT OR REPLACE INTO certificates VALUES (?, ?)", (name, pem))
            print("added", name)


if __name__ == "__main__":
    main(*sys.argv[1:])
