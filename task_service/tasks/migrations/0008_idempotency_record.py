from django.db import migrations


class Migration(migrations.Migration):
    """Rename the model in the state only: the previous version uses the name of the table."""

    dependencies = [("tasks", "0007_completed_and_created_by")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameModel("KeptAnswer", "IdempotencyRecord"),
                migrations.AlterModelTable("IdempotencyRecord", "tasks_keptanswer"),
            ]
        )
    ]
