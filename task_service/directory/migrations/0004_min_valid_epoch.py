from django.db import migrations, models


class Migration(migrations.Migration):
    """Rename the field in the state only: the previous version uses the name of the column."""

    dependencies = [("directory", "0003_feed_clock_difference")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameField("User", "least_epoch", "min_valid_epoch"),
                migrations.AlterField("User", "min_valid_epoch", models.BigIntegerField(db_column="least_epoch")),
            ]
        )
    ]
