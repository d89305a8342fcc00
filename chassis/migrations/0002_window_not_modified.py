from django.db import migrations, models

# By hand, as the table itself: the default stays in the database, so that the version before, which does not know the
# column, goes on writing rows.
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
