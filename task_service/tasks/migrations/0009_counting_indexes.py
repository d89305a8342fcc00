from django.db import migrations, models

from chassis import concurrent_indexes


class Migration(migrations.Migration):
    dependencies = [("tasks", "0008_idempotency_record")]
    atomic = False

    operations = concurrent_indexes.build(
        "task",
        models.Index(fields=["status", "due_date", "priority", "created_by"], name="task_counted"),
        models.Index(
            fields=["assigned_to", "status", "due_date"],
            include=["priority", "created_by"],
            name="task_counted_of_assignee",
        ),
    )
