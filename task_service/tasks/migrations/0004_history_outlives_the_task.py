import django.db.models.deletion
from django.db import migrations, models

# Deleting raises no error, since the previous version deletes the history together with the task. Once that version no
# longer runs, the trigger can raise like the one for updates.
KEEP = """
    CREATE FUNCTION keep_activity() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RETURN NULL;
    END $$;
    CREATE TRIGGER activity_is_kept BEFORE DELETE ON tasks_activity
    FOR EACH ROW EXECUTE FUNCTION keep_activity();
"""
UNDO = """
    DROP TRIGGER activity_is_kept ON tasks_activity;
    DROP FUNCTION keep_activity();
"""


class Migration(migrations.Migration):
    dependencies = [("tasks", "0003_activity_is_append_only")]

    operations = [
        migrations.AlterField(
            model_name="activity",
            name="task",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="activity",
                to="tasks.task",
            ),
        ),
        migrations.AlterField(
            model_name="activity",
            name="kind",
            field=models.CharField(
                choices=[
                    ("created", "Created"),
                    ("changed", "Changed"),
                    ("assigned", "Assigned"),
                    ("unassigned", "Unassigned"),
                    ("deleted", "Deleted"),
                ],
                max_length=10,
            ),
        ),
        migrations.RemoveConstraint(model_name="activity", name="activity_kind_is_known"),
        migrations.AddConstraint(
            model_name="activity",
            constraint=models.CheckConstraint(
                condition=models.Q(kind__in=["created", "changed", "assigned", "unassigned", "deleted"]),
                name="activity_kind_is_known",
            ),
        ),
        migrations.RunSQL(KEEP, UNDO),
    ]
