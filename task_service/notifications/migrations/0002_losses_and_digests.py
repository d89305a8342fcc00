from django.db import migrations, models


class Migration(migrations.Migration):
    """The previous version plans without a digest, and sends each part of a digest as a separate mail."""

    dependencies = [("notifications", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="event",
            name="kind",
            field=models.CharField(
                choices=[
                    ("task_status_changed", "Status Changed"),
                    ("task_assigned", "Assigned"),
                    ("task_unassigned", "Unassigned"),
                    ("task_deleted", "Deleted"),
                    ("task_due_soon", "Due Soon"),
                    ("task_overdue", "Overdue"),
                ],
                max_length=19,
            ),
        ),
        migrations.RemoveConstraint(model_name="event", name="event_kind_is_known"),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    kind__in=[
                        "task_status_changed",
                        "task_assigned",
                        "task_unassigned",
                        "task_deleted",
                        "task_due_soon",
                        "task_overdue",
                    ]
                ),
                name="event_kind_is_known",
            ),
        ),
        migrations.AddField(model_name="delivery", name="digest", field=models.UUIDField(null=True)),
    ]
