from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('detectors', '0002_candidates'),
    ]

    operations = [
        migrations.AddField(
            model_name='deployment',
            name='static_regions',
            field=models.BooleanField(default=False, help_text='Also finds what was put down or taken away, whatever it is, for rules about left and removed objects.', verbose_name='find what is left or taken'),
        ),
    ]
