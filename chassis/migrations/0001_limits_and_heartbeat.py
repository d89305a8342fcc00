from django.db import migrations, models

# Raw SQL because Django supports neither UNLOGGED (counts need no disk, and a crash of PostgreSQL may lose them) nor
# fillfactor (room in a page for updated rows), and always adds a second index to a text key.
MAKE = """
    CREATE UNLOGGED TABLE chassis_window (
        key text PRIMARY KEY,
        ends_at timestamptz NOT NULL,
        requests bigint NOT NULL
    ) WITH (fillfactor = 50)
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(MAKE, "DROP TABLE chassis_window")],
            state_operations=[
                migrations.CreateModel(
                    name="Window",
                    fields=[
                        ("key", models.TextField(primary_key=True, serialize=False)),
                        ("ends_at", models.DateTimeField()),
                        ("requests", models.BigIntegerField()),
                    ],
                ),
            ],
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("beat_at", models.DateTimeField()),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="there_is_one_heartbeat")],
            },
        ),
    ]
