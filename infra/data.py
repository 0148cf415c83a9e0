"""The stack that holds something: keys, the lake, queues, tables, secrets, images. Deleting it loses what it holds.

Belongs here: what is kept, how it is encrypted, for how long, and who of AWS may write into it. Queues are here too:
what waits in them is nowhere else, and S3 notifies only queues that are there before it is set up.

Keys. One for what Garmin sends (`raw`), one for what links a person to a Garmin account (`map`: the id map, the
enrolments, the tokens, the ledger of who left), one for the copy of the lake (`backup`), one for all the rest. An
object is put under the key `raw` unless its writer names another: whoever writes below `processed/` names `rest`, so
that people who read metrics need no key to raw data.
"""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import Aws, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import names
from infra.access import USES_OF_A_KEY, Statement, allow, decrypt, encrypt, explain, role
from infra.names import arn, lake
from qol_dagster.settings.retention import KINDS

KEEP = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
LONGEST_WAIT = Duration.days(KINDS["dead_letters"].days or 14)
"""The longest that SQS keeps a message."""
OLD_VERSIONS = KINDS["old_versions"].days or 90
"""Days for which the buckets keep what was overwritten or deleted."""
COPIED = ("raw/", *names.PROCESSED, *names.HISTORY, names.FREEZES, names.REPORTS, names.ERASURES)
"""What the bucket of backups has a copy of. `records/` is made again from `raw/`."""
PULL_S = 300
"""How long the puller takes at most: `qol_ingest.pulling.puller.CLAIM_S`."""
DRAIN_S = 180
"""How long a drain takes at most: `qol_ingest.webhook.DRAIN_S` and what it has begun by then."""
RECEIVES = 8
"""How often a message is handed out before it is dead: with the growing delays, half a day of outage."""


class DataStack(Stack):
    """Everything that must not be lost."""

    def __init__(self, scope: Construct, id_: str, **options: Any) -> None:
        super().__init__(scope, id_, termination_protection=True, **options)
        self.raw_key = _key(self, "raw", "What Garmin sends")
        self.map_key = _key(self, "map", "What links a person to a Garmin account")
        self.rest_key = _key(self, "rest", "Metrics, query results, alerts, logs, settings")
        self.backup_key = _key(self, "backup", "The second copy of the lake")
        _let_services_use(self.rest_key)
        self._queues()
        self._buckets()
        self._tables()
        self._secrets()
        ecr.Repository(
            self,
            "Images",
            repository_name=names.IMAGE_REPOSITORY,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,  # a roll-back finds the image that ran
            image_scan_on_push=True,
            removal_policy=KEEP,
        )

    def _queues(self) -> None:
        self.queues: dict[str, sqs.Queue] = {}
        # S3 can write to queues under a key of SQS, without the bucket and the key needing each other to be made.
        for name, key, hidden_s in (
            (names.ARRIVALS, None, 600),
            (names.PINGS, None, 6 * PULL_S),
            (names.SPILL, self.raw_key, 2 * DRAIN_S),
        ):
            dead = _queue(self, name + names.DEAD, key)
            dead_letters = sqs.DeadLetterQueue(queue=dead, max_receive_count=RECEIVES)
            queue = _queue(
                self, name, key, dead_letter_queue=dead_letters, visibility_timeout=Duration.seconds(hidden_s)
            )
            self.queues |= {name: queue, name + names.DEAD: dead}
            CfnOutput(self, f"{name.removeprefix('qol-').title()}Url", value=queue.queue_url)
            if key is None:
                queue.add_to_resource_policy(_s3_sends(name))

    def _buckets(self) -> None:
        logs = s3.Bucket(
            self,
            "AccessLogs",
            bucket_name=names.access_logs(),
            encryption=s3.BucketEncryption.S3_MANAGED,  # those who write access logs know no other
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(KINDS["logs"].days or 180))],
            removal_policy=KEEP,
        )
        logs.add_to_resource_policy(_load_balancers_log(logs))
        replication = self._backups(logs)
        bucket = s3.Bucket(
            self,
            "Lake",
            bucket_name=lake(),
            versioned=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.raw_key,
            bucket_key_enabled=True,  # else each small object costs a request to KMS
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            server_access_logs_bucket=logs,
            server_access_logs_prefix="lake/",
            lifecycle_rules=_lifecycle(),
            removal_policy=KEEP,
        )
        made = cast("s3.CfnBucket", bucket.node.default_child)
        made.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                _notification(names.RAW_DAILY, names.ARRIVALS),
                _notification(names.RAW_PINGS, names.PINGS),
                _notification(names.RAW_LIFECYCLE, names.PINGS),
            ]
        )
        made.replication_configuration = replication
        for name in (names.ARRIVALS, names.PINGS, "Backups", "Backup"):
            made.node.add_dependency(self.node.find_child(name))
        CfnOutput(self, "LakeName", value=bucket.bucket_name)

    def _backups(self, logs: s3.Bucket) -> s3.CfnBucket.ReplicationConfigurationProperty:
        """Make the bucket of backups, and return what has S3 copy to it whatever comes into the lake.

        Nobody writes there but S3, in the name of a role that reads the lake. For `OLD_VERSIONS` days nobody deletes
        a copy who may not bypass governance. What is deleted in the lake is there for as long, and then gone.
        """
        bucket = s3.Bucket(
            self,
            "Backups",
            bucket_name=names.backups(),
            versioned=True,
            object_lock_enabled=True,
            object_lock_default_retention=s3.ObjectLockRetention.governance(Duration.days(OLD_VERSIONS)),
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.backup_key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            server_access_logs_bucket=logs,
            server_access_logs_prefix="backup/",
            lifecycle_rules=[_old_versions(), *_expirations()],
            removal_policy=KEEP,
        )
        copier = role(
            Construct(self, "Backup"),
            names.BACKUP_ROLE,
            iam.ServicePrincipal("s3.amazonaws.com"),
            self._may_copy(),
            "S3, copying the lake to the bucket of backups",
        )
        return s3.CfnBucket.ReplicationConfigurationProperty(
            role=copier.role_arn,
            rules=[
                _copied(number, prefix, bucket.bucket_arn, self.backup_key.key_arn)
                for number, prefix in enumerate(COPIED, start=1)
            ],
        )

    def _may_copy(self) -> list[Statement]:
        copies = f"arn:aws:s3:::{names.backups()}/*"
        return [
            allow("s3:GetReplicationConfiguration", "s3:ListBucket", on=[f"arn:aws:s3:::{lake()}"]),
            allow(
                *("s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"),
                on=names.objects(*COPIED),
                because="S3 copies each object of these prefixes",
            ),
            allow(
                *("s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"),
                on=[copies],
                because="a copy has the key that it has in the lake",
            ),
            decrypt(self.raw_key.key_arn, "s3"),
            decrypt(self.rest_key.key_arn, "s3"),
            decrypt(self.map_key.key_arn, "s3"),
            encrypt(self.backup_key.key_arn, "s3"),
        ]

    def _tables(self) -> None:
        string = dynamodb.AttributeType.STRING
        dynamodb.Table(
            self,
            "IdMap",
            table_name=names.ID_MAP_TABLE,
            partition_key=dynamodb.Attribute(name="garmin_user_id", type=string),
            **self._table_options(),
        )
        dynamodb.Table(
            self,
            "Enrolment",
            table_name=names.ENROLMENT_TABLE,
            partition_key=dynamodb.Attribute(name="kind", type=string),
            sort_key=dynamodb.Attribute(name="name", type=string),
            time_to_live_attribute="keep_until",
            **self._table_options(),
        )

    def _table_options(self) -> dict[str, Any]:
        return {
            "billing_mode": dynamodb.BillingMode.PAY_PER_REQUEST,
            "encryption": dynamodb.TableEncryption.CUSTOMER_MANAGED,
            "encryption_key": self.map_key,
            "point_in_time_recovery_specification": dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            "deletion_protection": True,
            "removal_policy": KEEP,
        }

    def _secrets(self) -> None:
        by_hand = "it is registered at Garmin by hand, and a new one has to be on both sides at once: see deploy-aws.md"
        self.webhook_secret = _secret(
            self, names.WEBHOOK_SECRET, self.rest_key, "Last part of the webhook's path", by_hand
        )
        self.garmin_client_secret = _secret(
            self,
            names.GARMIN_CLIENT_SECRET,
            self.rest_key,
            "Of the Garmin developer programme; put it in by hand",
            by_hand,
        )
        self.survey_key = _secret(
            self,
            names.SURVEY_KEY,
            self.rest_key,
            "Hides the addresses by which wrong codes of the questionnaire are counted",
            "nothing is encrypted with it: a new one only begins the counts of ten minutes anew",
        )
        self.dagster_token = _secret(
            self,
            names.DAGSTER_TOKEN,
            self.rest_key,
            "Lets the weekly start through to Dagster's GraphQL",
            "the load balancer holds it too, and has to get a new one at the same time: see deploy-aws.md",
        )


def _key(stack: Stack, name: str, description: str) -> kms.Key:
    key = kms.Key(
        stack,
        f"{name}-key",
        alias=f"qol-{name}",
        description=description,
        enable_key_rotation=True,
        removal_policy=KEEP,
    )
    CfnOutput(stack, f"{name.title()}KeyArn", value=key.key_arn)
    return key


def _let_services_use(key: kms.Key) -> None:
    """CloudWatch sends alarms to a topic and keeps logs of Glue, both under this key, and is no role of ours."""
    key.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal(f"logs.{names.REGION}.amazonaws.com")],
            actions=[*USES_OF_A_KEY],
            resources=["*"],
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": arn("logs", "log-group:/aws-glue/*")}},
        )
    )


def _queue(stack: Stack, name: str, key: kms.Key | None, **options: Any) -> sqs.Queue:
    return sqs.Queue(
        stack,
        name,
        queue_name=name,
        encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
        encryption_master_key=key,
        enforce_ssl=True,
        retention_period=LONGEST_WAIT,
        removal_policy=KEEP,
        **options,
    )


def _s3_sends(queue: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        principals=[iam.ServicePrincipal("s3.amazonaws.com")],
        actions=["sqs:SendMessage"],
        resources=[arn("sqs", queue)],
        conditions={
            "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{lake()}"},
            "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
        },
    )


def _notification(prefix: str, queue: str) -> s3.CfnBucket.QueueConfigurationProperty:
    rule = s3.CfnBucket.FilterRuleProperty(name="prefix", value=prefix)
    return s3.CfnBucket.QueueConfigurationProperty(
        event="s3:ObjectCreated:*",
        queue=arn("sqs", queue),
        filter=s3.CfnBucket.NotificationFilterProperty(s3_key=s3.CfnBucket.S3KeyFilterProperty(rules=[rule])),
    )


def _load_balancers_log(bucket: s3.Bucket) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        principals=[iam.ServicePrincipal("logdelivery.elasticloadbalancing.amazonaws.com")],
        actions=["s3:PutObject"],
        resources=[bucket.arn_for_objects("dagster/*")],
        conditions={"ArnLike": {"aws:SourceArn": arn("elasticloadbalancing", "loadbalancer/*")}},
    )


def _copied(number: int, prefix: str, bucket: str, key: str) -> s3.CfnBucket.ReplicationRuleProperty:
    """Return the rule that copies what is below a prefix; what is deleted there is marked as deleted in the copy."""
    return s3.CfnBucket.ReplicationRuleProperty(
        id=_label(prefix),
        priority=number,
        status="Enabled",
        filter=s3.CfnBucket.ReplicationRuleFilterProperty(prefix=prefix),
        delete_marker_replication=s3.CfnBucket.DeleteMarkerReplicationProperty(status="Enabled"),
        source_selection_criteria=s3.CfnBucket.SourceSelectionCriteriaProperty(
            sse_kms_encrypted_objects=s3.CfnBucket.SseKmsEncryptedObjectsProperty(status="Enabled")
        ),
        destination=s3.CfnBucket.ReplicationDestinationProperty(
            bucket=bucket,
            encryption_configuration=s3.CfnBucket.EncryptionConfigurationProperty(replica_kms_key_id=key),
        ),
    )


def _old_versions() -> s3.LifecycleRule:
    return s3.LifecycleRule(
        id="old-versions",
        noncurrent_version_expiration=Duration.days(OLD_VERSIONS),
        abort_incomplete_multipart_upload_after=Duration.days(7),
        expired_object_delete_marker=True,
    )


def _expirations() -> list[s3.LifecycleRule]:
    """Return a rule for each prefix that `KINDS` has an end for. S3 copies no deletion that a rule makes."""
    ends = [(prefix, kind.days) for kind in KINDS.values() if kind.days for prefix in kind.prefixes]
    return [_expiration(prefix, days) for prefix, days in ends]


def _expiration(prefix: str, days: int) -> s3.LifecycleRule:
    return s3.LifecycleRule(id=f"{_label(prefix)}-for-{days}-days", prefix=prefix, expiration=Duration.days(days))


def _lifecycle() -> list[s3.LifecycleRule]:
    """Keep each kind of data as `KINDS` says, and so what was overwritten or deleted; records get cheaper."""
    work = ((names.QUERY_RESULTS, 7), (names.PIPES, 7), (names.WORK, 1))
    # What is rewritten every few seconds as long as somebody is at work, what can be made again, and what a rule or a
    # run takes away for good.
    gone = (
        *(names.LEASE, names.PENDING_DAYS, names.WORK, names.RECORDS),
        *(names.QUERY_RESULTS, names.PIPES, names.COMPUTE_LOGS),
    )
    return [
        _old_versions(),
        s3.LifecycleRule(
            id="raw-is-read-for-some-weeks",
            prefix="raw/",
            transitions=[
                s3.Transition(storage_class=s3.StorageClass.INTELLIGENT_TIERING, transition_after=Duration.days(60))
            ],
        ),
        *(_expiration(prefix, days) for prefix, days in work),
        *_expirations(),
        *(
            s3.LifecycleRule(
                id=f"{_label(prefix)}-is-now", prefix=prefix, noncurrent_version_expiration=Duration.days(1)
            )
            for prefix in gone
        ),
    ]


def _label(prefix: str) -> str:
    return prefix.strip("/").replace("/", "-")


def _secret(stack: Stack, name: str, key: kms.Key, description: str, why_no_rotation: str) -> secretsmanager.Secret:
    secret = secretsmanager.Secret(
        stack,
        name,
        secret_name=name,
        description=description,
        encryption_key=key,
        generate_secret_string=secretsmanager.SecretStringGenerator(exclude_punctuation=True, password_length=48),
        removal_policy=KEEP,
    )
    explain(secret, {"SMG4": why_no_rotation})
    return secret
