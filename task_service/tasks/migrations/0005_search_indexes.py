from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # as CREATE INDEX CONCURRENTLY asks for
    dependencies = [("tasks", "0005_search_document")]

    operations = [
        AddIndexConcurrently(
            model_name="task",
            index=models.Index(condition=~models.Q(search_rules=1), fields=["id"], name="task_to_index"),
        ),
        AddIndexConcurrently(
            model_name="task",
            index=GinIndex(fields=["search_document"], name="task_found_by_word"),
        ),
    ]
