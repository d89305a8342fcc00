from django.contrib.postgres.indexes import GinIndex
from django.db import migrations

NAME, LIMIT_KB = "task_found_by_word", 128
NEW = GinIndex(fields=["search_document"], name=NAME, gin_pending_list_limit=LIMIT_KB)


class Migration(migrations.Migration):
    """Django would rebuild the index, but PostgreSQL can change the limit of an existing one at once."""

    dependencies = [("tasks", "0011_activity_by_transaction")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveIndex("task", NAME), migrations.AddIndex("task", NEW)],
            database_operations=[
                migrations.RunSQL(
                    f"ALTER INDEX {NAME} SET (gin_pending_list_limit = {LIMIT_KB})",
                    f"ALTER INDEX {NAME} RESET (gin_pending_list_limit)",
                )
            ],
        )
    ]
