from django.db import migrations

# Existing tasks get a history too: their creation.
BEGIN_HISTORIES = """
    INSERT INTO tasks_activity (task_id, version, kind, field, reason, by_id, at)
    SELECT id, 1, 'created', '', '', created_by, created_at FROM tasks_task
"""
KEEP = """
    CREATE FUNCTION refuse_change_of_activity() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'activity is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END $$;
    CREATE TRIGGER activity_is_append_only BEFORE UPDATE ON tasks_activity
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_activity();
"""
UNDO = """
    DROP TRIGGER activity_is_append_only ON tasks_activity;
    DROP FUNCTION refuse_change_of_activity();
"""


class Migration(migrations.Migration):
    dependencies = [("tasks", "0002_activity_and_assignee")]

    operations = [
        migrations.RunSQL(BEGIN_HISTORIES, migrations.RunSQL.noop),
        migrations.RunSQL(KEEP, UNDO),
    ]
