from django.db import migrations


class Migration(migrations.Migration):
    """Rename the model in the state only: the previous version uses the name of the table."""

    dependencies = [("accounts", "0011_invited_at")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameModel("KeptAnswer", "IdempotencyRecord"),
                migrations.AlterModelTable("IdempotencyRecord", "accounts_keptanswer"),
            ]
        )
    ]
