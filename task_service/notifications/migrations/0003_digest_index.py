from django.db import migrations, models

from chassis import concurrent_indexes


class Migration(migrations.Migration):
    dependencies = [("notifications", "0002_losses_and_digests")]
    atomic = False

    operations = concurrent_indexes.build(
        "delivery", models.Index(condition=~models.Q(digest=None), fields=["digest", "recipient"], name="delivery_digest")
    )
