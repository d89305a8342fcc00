from django.db import migrations, models

import tasks.models.activity


class Migration(migrations.Migration):
    """Add the column without a default first, so that PostgreSQL does not rewrite the table."""

    dependencies = [("tasks", "0009_counting_indexes")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    [
                        "ALTER TABLE tasks_activity ADD COLUMN transaction_id bigint",
                        "ALTER TABLE tasks_activity"
                        " ALTER COLUMN transaction_id SET DEFAULT (pg_current_xact_id()::text::bigint)",
                    ],
                    "ALTER TABLE tasks_activity DROP COLUMN transaction_id",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="activity",
                    name="transaction_id",
                    field=models.BigIntegerField(
                        db_default=tasks.models.activity.CurrentTransactionId(), editable=False, null=True
                    ),
                )
            ],
        )
    ]
