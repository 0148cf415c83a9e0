"""The stack that starts the week and notifies people: the kick, the alarms, the watch on Wednesday, and mail.

Belongs here: when the week is started, what is watched, what people are notified of, and what staff may do. Each
message says what happened, to what, and what to do.

Wednesday. `qol-weekly-survey-kick` is called at 09:05 Japan time. At noon `qol-weekly-watch` looks whether the lake
has the last complete week; if not, people are notified. It asks for the data rather than for a run, so it holds whoever
was to compute the week and whatever kept that from happening; Dagster itself alerts to a run that fails.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import time
from typing import Any

from aws_cdk import Aws, CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra import names
from infra.access import Statement, allow, decrypt, deny, encrypt, people, people_and, role, seal
from infra.data import COPIED, DataStack
from infra.etl import queries
from infra.functions import QolFunction, log_group_of, schedule
from infra.ingest import FORM, PAGES, PUSHES, IngestStack, asks_who_left, notes_who_is_back, takes_from
from infra.names import arn, objects
from infra.settings import DeploySettings
from qol_dagster.settings.retention import KINDS
from qol_dagster.weeks import aws_cron

KICK_S = 90
"""`qol_ingest.kick.Limits` together, and half a minute for the start of a cold Lambda."""
AT_ITS_TIME = {"time": "<aws.scheduler.scheduled-time>"}
NOON_CRON = aws_cron(time(12))
"""UTC: Wednesday, 12:00 in Japan."""
NAMESPACE = "qol"
"""Of metrics that are counted out of logs."""
PUSH_WITH_REJECTS, DOWNLOAD_WITH_REJECTS = '"push taken" -", 0 rejected"', '"in quarantine"'
CONSENT_ENDED = '"has to connect to Garmin again"'
"""What CloudWatch looks for in the logs of the receiver and the puller."""
LAST_MONDAY = "$fromMillis($toMillis($states.input.time) - 9 * 86400000, '[Y0001]-[M01]-[D01]')"
"""JSONata: on a Wednesday, the Monday of the last complete week."""


class OpsStack(Stack):
    """The weekly start, and whatever people are to hear of."""

    def __init__(
        self, scope: Construct, id_: str, settings: DeploySettings, data: DataStack, ingest: IngestStack, **options: Any
    ) -> None:
        super().__init__(scope, id_, **options)
        self.topic = self._topic("Alerts", names.ALERT_TOPIC, settings.alert_mail, data)
        self._let_alarms_tell()
        self.report_topic = self._topic("Reports", names.REPORT_TOPIC, settings.report_mail, data)
        self.staff_settings = self._staff_settings(settings, data, ingest)
        self._staff(data)
        self._eraser(data)
        self._freezer(data)
        self._archiver(data)
        self._kick(settings, data)
        self._watch(data)
        for function in (names.WEBHOOK, names.OAUTH, names.PULLER, names.DRAIN, names.KICK):
            self._alarm_of_function(function)
        self._alarm_of_function(names.SURVEY, "What was stored stays; a participant saw an error, and can send again.")
        for queue in (names.ARRIVALS, names.SPILL, names.PINGS):
            self._alarm_of_dead_letters(queue + names.DEAD)
            if not settings.emulated:  # which does no arithmetic on metrics
                self._alarm_of_more_dead_letters(queue + names.DEAD)
        self._alarms_of_age()
        self._alarm_of_answers(ingest)
        self._alarms_of_routes(ingest)
        self._alarm_of_quarantine()
        self._alarm_of_consent()
        self._alarm_of_silence()

    def _topic(self, id_: str, name: str, mails: Sequence[str], data: DataStack) -> sns.Topic:
        topic = sns.Topic(self, id_, topic_name=name, master_key=data.rest_key, enforce_ssl=True)
        for mail in mails:
            topic.add_subscription(subscriptions.EmailSubscription(mail))
        return topic

    def _let_alarms_tell(self) -> None:
        topic = self.topic
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        CfnOutput(self, "AlertTopicArn", value=topic.topic_arn)

    def _staff_settings(self, settings: DeploySettings, data: DataStack, ingest: IngestStack) -> dict[str, str]:
        """Return what Dagster and the machines of staff have to know of this deployment: `qol_dagster.settings`."""
        variables = {
            "AWS_REGION": names.REGION,
            "QOL_TARGET": "aws",
            "QOL_BUCKET": names.lake(),
            "QOL_ID_MAP_TABLE": names.ID_MAP_TABLE,
            "QOL_ENROLMENT_TABLE": names.ENROLMENT_TABLE,
            "QOL_ARRIVALS_QUEUE_URL": data.queues[names.ARRIVALS].queue_url,
            "QOL_ALERT_TOPIC_ARN": self.topic.topic_arn,
            "QOL_REPORT_TOPIC_ARN": self.report_topic.topic_arn,
            **({"QOL_REPORT_URL": settings.report_url} if settings.report_url else {}),
            "QOL_ATHENA_WORKGROUP": names.WORKGROUP,
            "QOL_GLUE_JOB": names.ETL_JOB,
            "QOL_TABLES_KEY": data.rest_key.key_arn,
            "QOL_LEDGER_KEY": data.map_key.key_arn,
            "QOL_SPILL_QUEUE_URL": data.queues[names.SPILL].queue_url,
            "QOL_DEAD_LETTER_URL": data.queues[names.PINGS + names.DEAD].queue_url,
            "QOL_BACKUP_BUCKET": names.backups(),
            "QOL_START_DATE": settings.start_date.isoformat(),
            "QOL_PUBLIC_URL": ingest.public_url,
            "QOL_SURVEY_PLAN": str(settings.survey_plan),
            "QOL_SURVEY_RULE": settings.survey_rule,
            "QOL_GARMIN_CLIENT_ID": settings.garmin_client_id,
        }
        ssm.StringParameter(
            self,
            "Settings",
            parameter_name=names.SETTINGS,
            description="The settings of qol_dagster on a machine of staff",
            string_value=" ".join(f"{name}={value}" for name, value in variables.items()),
        )
        return variables

    def _staff(self, data: DataStack) -> None:
        id_map, enrolments = (arn("dynamodb", f"table/{one}") for one in (names.ID_MAP_TABLE, names.ENROLMENT_TABLE))
        staff = role(
            Construct(self, "Staff"),
            names.STAFF_ROLE,
            people(self.account),
            [
                *queries(data),
                # DeleteItem forgets a user who is nobody; the table keeps what it was for 35 days.
                allow("dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan", on=[id_map]),
                allow("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", on=[enrolments]),
                encrypt(data.map_key.key_arn, "dynamodb"),
                # What `qol doctor` looks at. Of raw objects it sees names, which are dates and hashes.
                allow("s3:ListBucket", on=[f"arn:aws:s3:::{names.lake()}"]),
                allow("sqs:GetQueueAttributes", on=[arn("sqs", names.ARRIVALS)]),
                allow("sns:GetTopicAttributes", on=[self.topic.topic_arn]),
                allow("glue:GetJob", on=[arn("glue", f"job/{names.ETL_JOB}")]),
                allow("s3:GetObject", "s3:PutObject", on=objects(names.REPORTS), because="each week has a report"),
                # Forms on paper and of other programs are brought in, and what participants answered is not read.
                allow("s3:PutObject", on=objects(names.RAW_SURVEYS), because="forms are named by their hash"),
                seal(data.raw_key.key_arn, "s3"),
                *asks_who_left(data),
                *notes_who_is_back(),
                allow("s3:GetObject", "s3:PutObject", on=objects(names.SURVEY_TEXTS), because="one for each language"),
                allow("ssm:GetParameter", on=[arn("ssm", f"parameter{names.SETTINGS}")]),
                deny("s3:GetObject", "s3:GetObjectVersion", on=objects("raw/")),
                deny("secretsmanager:GetSecretValue", on=[arn("secretsmanager", "secret:*")]),
                allow(
                    "secretsmanager:DeleteSecret",
                    on=[arn("secretsmanager", f"secret:{names.TOKEN_PREFIX}*")],
                    because="whoever revokes a participant forgets the tokens, a secret named by a hash",
                ),
            ],
            "People who enrol participants, with a second factor; never raw data, never a token",
        )
        CfnOutput(self, "StaffRoleArn", value=staff.role_arn)

    def _eraser(self, data: DataStack) -> None:
        """Make the role that alone removes versions. In the copy it marks what is deleted; no version goes there."""
        bucket = f"arn:aws:s3:::{names.lake()}"
        tables = [arn("dynamodb", f"table/{one}") for one in (names.ID_MAP_TABLE, names.ENROLMENT_TABLE)]
        calls = ("DeleteItem", "GetItem", "PutItem", "Query", "Scan")
        anywhere = "what is a person's may be in any object and in any of its versions"
        eraser = role(
            Construct(self, "Eraser"),
            names.ERASER_ROLE,
            people(self.account),
            [
                allow("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions", on=[bucket]),
                allow(
                    *("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObject", "s3:GetObjectVersion"),
                    "s3:PutObject",
                    on=[f"{bucket}/*"],
                    because=anywhere,
                ),
                deny("s3:DeleteObject", "s3:DeleteObjectVersion", on=objects(names.ERASURES)),
                allow(
                    "s3:DeleteObject",
                    on=[f"arn:aws:s3:::{names.backups()}/*"],
                    because="a copy has the key that it has in the lake",
                ),
                deny("s3:DeleteObject", on=[f"arn:aws:s3:::{names.backups()}/{names.ARCHIVES}*"]),
                *(encrypt(key.key_arn, "s3", "sqs") for key in (data.raw_key, data.rest_key)),
                encrypt(data.map_key.key_arn, "dynamodb", "s3", "secretsmanager"),
                allow(*(f"dynamodb:{call}" for call in calls), on=tables),
                *(takes_from(queue) for queue in (names.SPILL, names.SPILL + names.DEAD, names.PINGS + names.DEAD)),
                allow("sqs:GetQueueUrl", on=[arn("sqs", names.SPILL + names.DEAD)]),
                allow("glue:GetJobRuns", on=[arn("glue", f"job/{names.ETL_JOB}")]),
                allow(
                    *(f"secretsmanager:{call}" for call in ("DeleteSecret", "GetSecretValue", "PutSecretValue")),
                    on=[arn("secretsmanager", f"secret:{names.TOKEN_PREFIX}*")],
                    because="each participant's tokens are a secret of their own, named by a hash",
                ),
                allow("secretsmanager:GetSecretValue", on=[data.garmin_client_secret.secret_arn]),
                decrypt(data.rest_key.key_arn, "secretsmanager"),
                allow("ssm:GetParameter", on=[arn("ssm", f"parameter{names.SETTINGS}")]),
            ],
            "Who erases a person, with a second factor: removes versions, which no other role does",
        )
        CfnOutput(self, "EraserRoleArn", value=eraser.role_arn)

    def _freezer(self, data: DataStack) -> None:
        freezer = role(
            Construct(self, "Freezer"),
            names.FREEZER_ROLE,
            people(self.account),
            [
                *queries(data),
                allow(
                    "s3:PutObject", on=objects(*names.HISTORY, names.FREEZES), because="a freeze keeps what it names"
                ),
                # It waits for a run that is under way: the lease is under the key of raw data, of which it reads none.
                allow("s3:GetObject", "s3:PutObject", on=objects(names.LEASE), because="there may be more than one"),
                encrypt(data.raw_key.key_arn, "s3"),
                deny("s3:GetObject", "s3:GetObjectVersion", on=objects("raw/", names.RECORDS)),
                allow("ssm:GetParameter", on=[arn("ssm", f"parameter{names.SETTINGS}")]),
            ],
            "Researchers who freeze tables, with a second factor; never raw data, never who is who",
        )
        CfnOutput(self, "FreezerRoleArn", value=freezer.role_arn)

    def _archiver(self, data: DataStack) -> None:
        """Make the role that backs up: it reads everything but secrets, and writes nothing but archives."""
        lake, backups = (f"arn:aws:s3:::{one()}" for one in (names.lake, names.backups))
        archives, ledgers = f"{backups}/{names.ARCHIVES}*", f"{backups}/{names.ERASURES}*"
        archiver = role(
            Construct(self, "Archiver"),
            names.ARCHIVER_ROLE,
            people_and(self.account, names.role_arn(names.DAGSTER_ROLE)),
            [
                allow("s3:ListBucket", on=[lake, backups]),
                allow("s3:GetObject", on=objects(*COPIED, names.SURVEY_TEXTS), because="a backup has all of it"),
                allow("s3:GetObject", "s3:PutObject", on=objects(names.LEASE), because="there may be more than one"),
                encrypt(data.raw_key.key_arn, "s3"),
                decrypt(data.rest_key.key_arn, "s3"),
                decrypt(data.map_key.key_arn, "s3", "dynamodb"),
                allow(
                    "dynamodb:Scan",
                    on=[arn("dynamodb", f"table/{one}") for one in (names.ID_MAP_TABLE, names.ENROLMENT_TABLE)],
                ),
                allow(
                    *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
                    on=[archives],
                    because="each month has archives of its own; what is deleted is marked, and stays until its date",
                ),
                allow("s3:GetObject", on=[ledgers], because="who left since a backup is replayed when it is restored"),
                encrypt(data.backup_key.key_arn, "s3"),
                deny("s3:BypassGovernanceRetention", "s3:DeleteObjectVersion", on=[f"{backups}/*"]),
                allow("ssm:GetParameter", on=[arn("ssm", f"parameter{names.SETTINGS}")]),
            ],
            "Backs up the lake and the tables: Dagster, and people with a second factor; never a token, never a secret",
        )
        CfnOutput(self, "ArchiverRoleArn", value=archiver.role_arn)

    def _kick(self, settings: DeploySettings, data: DataStack) -> None:
        kick = QolFunction(
            self,
            names.KICK,
            "kick.handler",
            does="Ensures that the last complete week is computed, by Dagster or without it",
            may=[
                allow("glue:GetJobRuns", "glue:StartJobRun", on=[arn("glue", f"job/{names.ETL_JOB}")]),
                allow("secretsmanager:GetSecretValue", on=[data.dagster_token.secret_arn]),
                decrypt(data.rest_key.key_arn, "secretsmanager"),
                *self._tells(data),
            ],
            environment={
                "QOL_DAGSTER_URL": settings.dagster_url,
                "QOL_DAGSTER_TOKEN_ARN": data.dagster_token.secret_arn,
                "QOL_GLUE_JOB": names.ETL_JOB,
                "QOL_ALERT_TOPIC_ARN": self.topic.topic_arn,
            },
            timeout_s=KICK_S,
            at_once=1,  # two at a time could each find no run of the week, and start one
        )
        schedule(self, "qol-weekly-schedule", names.WEEKLY_CRON, kick.function.function_arn, payload=AT_ITS_TIME)

    def _watch(self, data: DataStack) -> None:
        place = Construct(self, names.WEEKLY_WATCH)
        logs = log_group_of(place, f"/aws/vendedlogs/states/{names.WEEKLY_WATCH}")
        weekly = f"{names.PROCESSED[0]}weekly/*"
        watcher = role(
            place,
            f"{names.WEEKLY_WATCH}-role",
            iam.ServicePrincipal("states.amazonaws.com"),
            [
                allow("s3:ListBucket", on=[f"arn:aws:s3:::{names.lake()}"], when={"StringLike": {"s3:prefix": weekly}}),
                *self._tells(data),
                *_is_traced(),
            ],
            "Looks for the table of the last week",
        )
        machine = sfn.CfnStateMachine(
            place,
            "Machine",
            state_machine_name=names.WEEKLY_WATCH,
            role_arn=watcher.role_arn,
            definition_string=json.dumps(watch_definition(names.lake(), self.topic.topic_arn)),
            tracing_configuration=sfn.CfnStateMachine.TracingConfigurationProperty(enabled=True),
            logging_configuration=sfn.CfnStateMachine.LoggingConfigurationProperty(
                level="ALL",
                include_execution_data=False,
                destinations=[
                    sfn.CfnStateMachine.LogDestinationProperty(
                        cloud_watch_logs_log_group=sfn.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                            log_group_arn=logs.log_group_arn
                        )
                    )
                ],
            ),
        )
        schedule(
            self, "qol-noon-schedule", NOON_CRON, machine.attr_arn, call="states:StartExecution", payload=AT_ITS_TIME
        )
        self._alarm(
            f"{names.WEEKLY_WATCH}-errors",
            _metric("AWS/States", "ExecutionsFailed", StateMachineArn=machine.attr_arn),
            "Nobody could check whether the last week is there. Check it yourself: SELECT max(date) FROM "
            "db_qol.weekly_metrics.",
        )

    def _tells(self, data: DataStack) -> list[Statement]:
        return [allow("sns:Publish", on=[self.topic.topic_arn]), encrypt(data.rest_key.key_arn, "sns")]

    def _alarm_of_function(
        self, function: str, loss: str = "Nothing is lost: it is called again, or a queue keeps what it was to do."
    ) -> None:
        self._alarm(
            f"{function}-errors",
            _metric("AWS/Lambda", "Errors", FunctionName=function),
            f"{function} failed. {loss} Its log /aws/lambda/{function} says why.",
        )

    def _alarm_of_dead_letters(self, queue: str) -> None:
        self._alarm(
            f"{queue}-letters",
            _metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", QueueName=queue),
            f"Messages are in {queue}: they were tried for hours, or will not come any more. Look at them, mend the "
            "reason, and start a redrive; they are kept for 14 days.",
        )

    def _alarm_of_more_dead_letters(self, queue: str) -> None:
        grows = cloudwatch.MathExpression(
            # Without a message for hours, SQS counts nothing at all.
            expression="DIFF(FILL(letters, 0))",
            using_metrics={
                "letters": _metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", QueueName=queue)
            },
            period=Duration.minutes(5),
        )
        self._alarm(
            f"{queue}-letters-grow",
            grows,
            f"More messages came into {queue}. The alarm {queue}-letters stays on as long as there are any; this one "
            "goes off each time there are more.",
        )

    def _alarms_of_age(self) -> None:
        """Messages that wait too long though nobody has given up on them."""
        for queue, hours, text in (
            (names.SPILL, 1, "Pushes wait in the spill queue: S3 does not take them. They are lost after 14 days"),
            (names.PINGS, 6, "Pings wait: Garmin does not answer, or the puller fails. Garmin's addresses last a day"),
            (names.ARRIVALS, 6, "Nobody looks at new raw files: is Dagster's daemon running, and its sensor on?"),
        ):
            self._alarm(
                f"{queue}-age",
                _metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", QueueName=queue),
                f"{text}. The oldest message in {queue} is older than {hours} hours; the Lambdas' logs say why.",
                limit=hours * 3600,
            )

    def _alarms_of_routes(self, ingest: IngestStack) -> None:
        """Refusals, by route: a number of all kinds, and each of the two kinds by which data does not come in."""
        for who, method, path, most, text in (
            ("pushes", "POST", PUSHES, 10, "Is the address in Garmin's portal that of the webhook's secret?"),
            ("pages", "GET", PAGES, 100, "Does somebody try entry codes?"),
            ("forms", "GET", FORM, 100, "Does somebody try codes of the questionnaire?"),
        ):
            self._alarm(
                f"qol-{who}-refused",
                _metric("AWS/ApiGateway", "4xx", ApiId=ingest.api_id, Stage="$default", Method=method, Resource=path),
                f"{most} or more {who} were refused within five minutes. {text} The log /aws/apigateway/qol has their "
                "status.",
                limit=most,
            )
        too_large = (
            "A push was larger than a Lambda takes (6 MB), and comes again in vain for 7 days. Subscribe its type as "
            "ping in Garmin's portal; which it is, Garmin's portal says, or ask for a backfill of the last days."
        )
        too_many = "were answered 429: there were more in a second than the route takes. Garmin sends again. Raise the "
        self._alarm_of_status("pushes", 413, PUSHES, too_large)
        self._alarm_of_status("pushes", 429, PUSHES, f"Pushes {too_many}limits in infra/ingest.py if it goes on.")
        self._alarm_of_status("pages", 429, "/oauth/*", f"Pages {too_many}limits if these are participants.")
        self._alarm_of_status(
            "forms",
            429,
            FORM,
            "Pages of the questionnaire were answered 429, and none of them was "
            "stored: there were more in a second than the route takes. Raise the limits if these are participants.",
        )

    def _alarm_of_status(self, who: str, status: int, path: str, text: str) -> None:
        name = f"qol-{who}-{status}"
        pattern = f'{{ ($.routeKey = "* {path}") && ($.status = "{status}") }}'
        self._count_lines(name, "/aws/apigateway/qol", pattern, name)
        self._alarm(name, _metric(NAMESPACE, name), text)

    def _alarm_of_quarantine(self) -> None:
        name = "qol-quarantine"
        self._count_lines(f"{name}-pushes", f"/aws/lambda/{names.WEBHOOK}", PUSH_WITH_REJECTS, name)
        self._count_lines(f"{name}-downloads", f"/aws/lambda/{names.PULLER}", DOWNLOAD_WITH_REJECTS, name)
        self._alarm(
            name,
            _metric(NAMESPACE, name),
            f"Something came that could not be read: it is in {names.QUARANTINE} for {KINDS['quarantine'].days} days. "
            f"The log of {names.WEBHOOK} or {names.PULLER} has the reason; after a fix, `qol raw requarantine` reads "
            "it again.",
        )

    def _alarm_of_consent(self) -> None:
        name = "qol-connect-again"
        self._count_lines(name, f"/aws/lambda/{names.PULLER}", CONSENT_ENDED, name)
        self._alarm(
            name,
            _metric(NAMESPACE, name),
            "Garmin takes a participant's token no more: what is pushed still comes, but pings and backfills cannot be "
            f"fetched. The log of {names.PULLER} names the participant; `qol participants invite ID` gives a new link.",
        )

    def _count_lines(self, id_: str, log_group: str, pattern: str, metric: str) -> None:
        """Have the lines of a log that match a pattern counted as a metric."""
        logs.CfnMetricFilter(
            self,
            f"{id_}-lines",
            log_group_name=log_group,
            filter_pattern=pattern,
            metric_transformations=[
                logs.CfnMetricFilter.MetricTransformationProperty(
                    metric_namespace=NAMESPACE, metric_name=metric, metric_value="1"
                )
            ],
        )

    def _alarm_of_answers(self, ingest: IngestStack) -> None:
        self._alarm(
            f"{names.WEBHOOK}-answers",
            _metric("AWS/ApiGateway", "5xx", ApiId=ingest.api_id),
            "Garmin was asked to send again, for 7 days at most: neither S3 nor the spill queue took a push, or a "
            f"Lambda did not answer. /aws/lambda/{names.WEBHOOK} says why. Or participants could not answer: see "
            f"/aws/lambda/{names.SURVEY}.",
        )

    def _alarm_of_silence(self) -> None:
        """S3 announces each raw object to the queue, so its messages are a count of what came."""
        hours = 24
        self._alarm(
            "qol-no-raw-data",
            _metric("AWS/SQS", "NumberOfMessagesSent", QueueName=names.ARRIVALS, minutes=60),
            f"No raw data came for {hours} hours. Send a test push with `qol doctor --webhook URL`; if it is taken, "
            "check the subscriptions in Garmin's developer portal.",
            below=True,
            periods=hours,
        )

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        text: str,
        *,
        limit: int = 1,
        below: bool = False,
        periods: int = 1,
    ) -> None:
        """Goes off from `limit` on; or `below` it, for which no data counts as well."""
        comparison, missing = cloudwatch.ComparisonOperator, cloudwatch.TreatMissingData
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=name,
            alarm_description=text,
            metric=metric,
            threshold=limit,
            evaluation_periods=periods,
            comparison_operator=comparison.LESS_THAN_THRESHOLD
            if below
            else comparison.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=missing.BREACHING if below else missing.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))


def watch_definition(lake: str, topic_arn: str) -> dict[str, Any]:
    """Return the state machine that notifies if the last complete week, as of `time` in the input, has no object."""
    text = "{% 'At noon there is no table of the week of ' & $week & ', which is due at 09:05. Open Dagster: is its "
    text += "daemon running, and is there a run of that week? Start one with weekly_metrics > Materialize. Nothing is "
    text += "lost: raw data waits.' %}"
    tells = {"ErrorEquals": ["States.ALL"], "Next": "Tell"}
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Which week",
        "States": {
            "Which week": {"Type": "Pass", "Assign": {"week": f"{{% {LAST_MONDAY} %}}"}, "Next": "Look"},
            "Look": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:s3:listObjectsV2",
                "Arguments": {
                    "Bucket": lake,
                    "Prefix": f"{{% '{names.PROCESSED[0]}weekly/date=' & $week & '/' %}}",
                    "MaxKeys": 1,
                },
                "Catch": [tells],
                "Next": "Is it there",
            },
            "Is it there": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $count($states.input.Contents) > 0 %}", "Next": "It is there"}],
                "Default": "Tell",
            },
            "Tell": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sns:publish",
                "Arguments": {
                    "TopicArn": topic_arn,
                    "Subject": "{% '[qol] no table of the week of ' & $week %}",
                    "Message": text,
                },
                "End": True,
            },
            "It is there": {"Type": "Succeed"},
        },
    }


def _is_traced() -> list[Statement]:
    nowhere = "neither log deliveries nor traces have an ARN"
    return [
        allow(
            *("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:GetLogDelivery"),
            *("logs:DescribeResourcePolicies", "logs:ListLogDeliveries", "logs:PutResourcePolicy"),
            *("logs:UpdateLogDelivery", "xray:GetSamplingRules", "xray:GetSamplingTargets"),
            *("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
            on=["*"],
            because=nowhere,
        )
    ]


def _metric(
    namespace: str, name: str, statistic: str = "Sum", *, minutes: int = 5, **dimensions: str
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        statistic=statistic,
        period=Duration.minutes(minutes),
        dimensions_map=dimensions,
    )
