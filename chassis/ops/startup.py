"""Reports invalid settings in one sentence, where Django would print a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from chassis.ops.env import SettingError

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h


@contextmanager
def exit_on_setting_error(program: str) -> Iterator[None]:
    """Turn a SettingError into one line on standard error and exit status 78."""
    try:
        yield
    except SettingError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(EXIT_CONFIG)
