from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directory", "0002_user_by_name")]

    operations = [
        migrations.AddField(
            model_name="feed", name="clock_difference_seconds", field=models.IntegerField(null=True)
        ),
    ]
