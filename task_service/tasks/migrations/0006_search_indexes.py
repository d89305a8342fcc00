from django.contrib.postgres.indexes import GinIndex
from django.db import migrations, models

from chassis import concurrent_indexes


class Migration(migrations.Migration):
    dependencies = [("tasks", "0005_search_document")]
    atomic = False

    operations = concurrent_indexes.build(
        "task",
        models.Index(condition=~models.Q(search_rules=1), fields=["id"], name="task_to_index"),
        GinIndex(fields=["search_document"], name="task_found_by_word"),
    )
