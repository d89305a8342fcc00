from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F

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
    """Tasks go on being changed meanwhile. What a run that broke off left behind is dropped first."""

    dependencies = [("tasks", "0004_history_outlives_the_task")]
    atomic = False

    operations = [
        # To build an index concurrently is to wait for open transactions, such as those of exports.
        migrations.RunSQL("SET lock_timeout = 0", "RESET lock_timeout"),
        *(
            operation
            for index in INDEXES
            for operation in (
                migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
                AddIndexConcurrently("task", index),
            )
        ),
        migrations.RunSQL("RESET lock_timeout", "SET lock_timeout = 0"),
    ]
