"""scripts/provision-database: a role and a schema for each service, on any PostgreSQL."""

import argparse
import os
import sys

import psycopg2

from chassis import env
from chassis.provision import provision_urls, urls_of
from stack.console import say


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/provision-database",
        description="Make a role and a schema for each service. USER_DATABASE_URL and TASK_DATABASE_URL, from the "
        "environment or .env, say with which passwords and in which database; without them they are made up and shown.",
    )
    parser.add_argument("owner_url", metavar="OWNER_URL", help="postgresql://... of a role that may make roles")
    owner_url = parser.parse_args().owner_url
    env.load_dotenv()
    urls = urls_of(owner_url, os.environ)
    try:
        provision_urls(owner_url, urls)
    except (psycopg2.Error, ValueError) as error:
        sys.exit(f"scripts/provision-database: {str(error).strip()}")
    made_up = {name: url for name, url in urls.items() if not os.environ.get(name)}
    say("The roles and schemas are there." + (" For .env:\n" if made_up else ""))
    for name, url in made_up.items():
        say(f"{name}={url}")


if __name__ == "__main__":
    main()
