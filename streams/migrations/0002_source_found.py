from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("streams", "0001_initial")]

    operations = [
        migrations.AddField("source", "found", models.JSONField(editable=False, null=True)),
        migrations.AddField("source", "found_at", models.DateTimeField(editable=False, null=True)),
    ]
