from django.db import migrations


class Migration(migrations.Migration):
    """Rename the model in the state alone: the version before reads the table by its name."""

    dependencies = [("accounts", "0011_invited_at")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameModel("KeptAnswer", "IdempotencyRecord"),
                migrations.AlterModelTable("IdempotencyRecord", "accounts_keptanswer"),
            ]
        )
    ]
