from django.db import migrations, models

from chassis import concurrent_indexes


class Migration(migrations.Migration):
    dependencies = [("tasks", "0010_activity_transaction_id")]
    atomic = False

    operations = concurrent_indexes.build(
        "activity",
        models.Index(
            condition=models.Q(transaction_id__isnull=False), fields=["transaction_id"], name="activity_by_transaction"
        ),
    )
