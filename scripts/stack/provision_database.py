"""scripts/provision-database: a role and a schema for each service, on any PostgreSQL."""

from deploy import provision

if __name__ == "__main__":
    provision.command("scripts/provision-database")
