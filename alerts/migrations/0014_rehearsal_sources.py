from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0013_seldom_looked_through"),
    ]

    operations = [
        migrations.AddField(
            model_name="rehearsal",
            name="sources",
            field=models.JSONField(db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="rehearsal",
            name="tracked_anew",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
