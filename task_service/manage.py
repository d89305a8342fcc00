#!/usr/bin/env python3
import os
import sys
from pathlib import Path


def main() -> None:
    # Images and scripts/run set PYTHONPATH; by hand, the chassis is found beside this service.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    from chassis.ops.startup import refusing_in_one_sentence

    with refusing_in_one_sentence("task_service"):
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
