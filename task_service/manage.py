#!/usr/bin/env python3
import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    from chassis.ops.startup import exit_on_setting_error

    with exit_on_setting_error("task_service"):
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
