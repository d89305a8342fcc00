from django.db import migrations, models


class Migration(migrations.Migration):
    """Rename the field in the state only: the previous version uses the name of the column."""

    dependencies = [("accounts", "0012_idempotency_record")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameField("User", "least_epoch", "min_valid_epoch"),
                migrations.AlterField(
                    "User",
                    "min_valid_epoch",
                    models.PositiveIntegerField(db_column="least_epoch", default=0, editable=False),
                ),
            ]
        )
    ]
