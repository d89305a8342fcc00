from django.db import migrations, models
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    dependencies = [("directory", "0001_initial")]

    operations = [
        migrations.AddIndex(model_name="user", index=models.Index(Lower("username"), name="user_by_name")),
    ]
