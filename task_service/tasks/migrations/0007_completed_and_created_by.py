from django.db import migrations, models
from django.db.models import F

from chassis import concurrent_indexes

INDEXES = [
    models.Index(fields=["completed_at", "id"], name="task_completed_first"),
    models.Index(F("completed_at").desc(nulls_last=True), F("id").desc(), name="task_completed_last"),
    models.Index(fields=["created_by", "-created_at", "-id"], name="task_newest_of_creator"),
    models.Index(fields=["assigned_to", "completed_at", "id"], name="task_completed_of_assignee"),
    models.Index(
        F("assigned_to"),
        F("completed_at").desc(nulls_last=True),
        F("id").desc(),
        name="task_last_done_of_assignee",
    ),
]


class Migration(migrations.Migration):
    dependencies = [("tasks", "0006_search_indexes")]
    atomic = False

    operations = concurrent_indexes.build("task", *INDEXES)
