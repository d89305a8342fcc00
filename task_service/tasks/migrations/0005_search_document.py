import django.contrib.postgres.search
from django.db import migrations, models

# The previous version changes the text without the document; the task must then be indexed again.
FOLLOW = """
    CREATE FUNCTION forget_search_document() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.search_document := NULL;
        NEW.search_rules := NULL;
        RETURN NEW;
    END $$;
    CREATE TRIGGER search_document_follows_text BEFORE UPDATE OF title, description ON tasks_task FOR EACH ROW
    WHEN (
        (NEW.title, NEW.description) IS DISTINCT FROM (OLD.title, OLD.description)
        AND NEW.search_document IS NOT DISTINCT FROM OLD.search_document
    )
    EXECUTE FUNCTION forget_search_document();
"""
# With the default of 100 (1,000 words), PostgreSQL assumes that an unknown word is in one of a thousand tasks, and reads
# all of them.
STATISTICS = "ALTER TABLE tasks_task ALTER COLUMN search_document SET STATISTICS 500"
UNDO = """
    DROP TRIGGER search_document_follows_text ON tasks_task;
    DROP FUNCTION forget_search_document();
"""


class Migration(migrations.Migration):
    dependencies = [("tasks", "0004_history_outlives_the_task")]

    operations = [
        migrations.AddField(
            model_name="task",
            name="search_document",
            field=django.contrib.postgres.search.SearchVectorField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="task",
            name="search_rules",
            field=models.PositiveSmallIntegerField(editable=False, null=True),
        ),
        migrations.RunSQL(STATISTICS, migrations.RunSQL.noop),
        migrations.RunSQL(FOLLOW, UNDO),
    ]
