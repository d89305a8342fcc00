from django.db import migrations, models

# Raw SQL keeps the default in the database, so that the previous version, which does not know the column, can still
# insert rows.
ADD = "ALTER TABLE chassis_window ADD COLUMN not_modified bigint DEFAULT 0 NOT NULL"


class Migration(migrations.Migration):
    dependencies = [("chassis", "0001_limits_and_heartbeat")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, "ALTER TABLE chassis_window DROP COLUMN not_modified")],
            state_operations=[
                migrations.AddField(
                    model_name="window",
                    name="not_modified",
                    field=models.BigIntegerField(db_default=0),
                ),
            ],
        ),
    ]
