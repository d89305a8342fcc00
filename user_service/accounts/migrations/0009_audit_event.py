from django.db import migrations, models

KEEP = """
    CREATE FUNCTION refuse_change_of_audit_events() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'audit events are append-only' USING ERRCODE = 'integrity_constraint_violation';
    END $$;
    CREATE TRIGGER audit_events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_events();
"""
UNDO = """
    DROP TRIGGER audit_events_are_append_only ON accounts_auditevent;
    DROP FUNCTION refuse_change_of_audit_events();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_email_confirmation")]

    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                (
                    "event",
                    models.CharField(
                        choices=[
                            ("authn_login_success", "Login Success"),
                            ("authn_login_fail", "Login Fail"),
                            ("authn_login_lock", "Login Lock"),
                            ("authn_password_change", "Password Change"),
                            ("authn_password_change_fail", "Password Change Fail"),
                            ("authn_token_reuse", "Token Reuse"),
                            ("authz_change", "Role Change"),
                            ("session_expired", "Session End"),
                            ("user_created", "User Created"),
                            ("user_updated", "User Updated"),
                            ("user_archived", "User Archived"),
                            ("user_deleted", "User Deleted"),
                            ("authn_password_reset", "Password Reset"),
                            ("user_activated", "User Activated"),
                        ],
                        max_length=40,
                    ),
                ),
                ("actor_id", models.BigIntegerField(null=True)),
                ("actor_name", models.CharField(blank=True, max_length=64)),
                ("subject_id", models.BigIntegerField(null=True)),
                ("subject_name", models.CharField(blank=True, max_length=64)),
                ("address", models.GenericIPAddressField(null=True)),
                ("details", models.JSONField()),
                ("request_id", models.CharField(blank=True, max_length=64)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["at", "id"], name="auditevent_at"),
                    models.Index(fields=["event", "at", "id"], name="auditevent_event"),
                    models.Index(fields=["actor_id", "at", "id"], name="auditevent_actor"),
                    models.Index(fields=["subject_id", "at", "id"], name="auditevent_subject"),
                ],
            },
        ),
        migrations.RunSQL(KEEP, UNDO),
    ]
