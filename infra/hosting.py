"""The stack that hosts Dagster: web server and daemon on Fargate, runs and schedules in PostgreSQL, people let in.

Belongs here: the network, the two services, their database, and who gets through the load balancer. What the daemon
and its runs may do on AWS is the role `qol-dagster`. The web server, which people reach, has one of its own that reads
what steps printed and nothing else. How Dagster is set up is `dagster.yaml` beside this file, which is in the image.

Who gets in. People sign in at a pool of users with a password and a second factor; staff makes their accounts. The
weekly start is the only program: it shows a token, and reaches /graphql and nothing else.

Runs. The daemon starts each run as a process of its own (the default launcher). A run on AWS waits for Glue, so it
needs little; see the decision on it in docs/adr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_elasticloadbalancingv2_actions as elb_actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rds as rds
from constructs import Construct

from infra import names
from infra.access import Statement, allow, decrypt, encrypt, explain, role
from infra.data import DataStack
from infra.etl import queries, scores_surveys, takes_part
from infra.functions import log_group_of
from infra.ingest import takes_from
from infra.names import arn, objects
from infra.ops import OpsStack
from infra.settings import DeploySettings

WEB_PORT, DATABASE_PORT = 3000, 5433
DATABASE = USER = "dagster"
WORKSPACE = ("--workspace", "workspace.yaml")
PASSWORD = "qol/dagster-database"  # noqa: S105 - a name
NO_SECRET = "names, addresses and ids, none of them a secret; the password comes from Secrets Manager"  # noqa: S105


@dataclass(frozen=True)
class Program:
    """What one service runs. `percent` is how many of its tasks may be there during a deployment, least and most."""

    name: str
    command: tuple[str, ...]
    memory_mb: int
    percent: tuple[int, int]

    @property
    def log_group(self) -> str:
        """Where it writes."""
        return f"/qol/dagster-{self.name}"


WEB = Program(
    "web",
    (*("python", "-m", "qol_dagster.defs.webserver"), *("--host", "0.0.0.0", "--port", str(WEB_PORT)), *WORKSPACE),  # noqa: S104
    1024,
    (100, 200),
)
# Two daemons would start everything twice, so the old one goes before the new one comes.
DAEMON = Program("daemon", ("dagster-daemon", "run", *WORKSPACE), 2048, (0, 100))


class HostingStack(Stack):
    """Dagster, under the address of the setting `dagster_url`."""

    def __init__(
        self, scope: Construct, id_: str, settings: DeploySettings, data: DataStack, ops: OpsStack, **options: Any
    ) -> None:
        super().__init__(scope, id_, **options)
        self._settings, self._data, self._ops = settings, data, ops
        # As from elsewhere: constructs write those whom they give a key to into its policy, in the stack of data.
        self._key = kms.Key.from_key_arn(self, "RestKey", data.rest_key.key_arn)
        self._vpc = self._network()
        self._password = self._database_password()
        self._database = self._postgres()
        cluster = ecs.Cluster(
            self, "Cluster", cluster_name="qol", vpc=self._vpc, container_insights_v2=ecs.ContainerInsights.ENABLED
        )
        pages, runs, self._starts = self._roles()
        web, daemon = self._service(cluster, WEB, pages), self._service(cluster, DAEMON, runs)
        for service in (web, daemon):
            self._database.connections.allow_from(service, ec2.Port.tcp(DATABASE_PORT), "Dagster")
        self._load_balancer(web)

    def _network(self) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Network",
            max_azs=2,
            nat_gateways=1,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24),
                ec2.SubnetConfiguration(name="private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=24),
            ],
            gateway_endpoints={
                # Raw data does not take the way over the gateway to the internet, and costs nothing on this one.
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
                "DynamoDB": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
            },
        )
        place = Construct(self, "FlowLogs")
        logs = log_group_of(place, "/qol/flow")
        writes = role(
            place,
            "qol-flow-logs-role",
            iam.ServicePrincipal("vpc-flow-logs.amazonaws.com"),
            [_writes_logs("/qol/flow")],
            "Writes who spoke to whom in Dagster's network",
        )
        ec2.CfnFlowLog(
            place,
            "FlowLog",
            resource_id=vpc.vpc_id,
            resource_type="VPC",
            traffic_type="ALL",
            log_group_name=logs.log_group_name,
            deliver_logs_permission_arn=writes.role_arn,
        )
        return vpc

    def _database_password(self) -> rds.DatabaseSecret:
        password = rds.DatabaseSecret(self, "Password", username=USER, secret_name=PASSWORD, encryption_key=self._key)
        why = "Dagster reads it when it starts, and a rotation in between would lock it out; see deploy-aws.md"
        explain(password, {"SMG4": why})
        return password

    def _postgres(self) -> rds.DatabaseInstance:
        database = rds.DatabaseInstance(
            self,
            "Database",
            engine=rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17_9),
            instance_type=ec2.InstanceType.of(ec2.InstanceClass.T4G, ec2.InstanceSize.MICRO),
            vpc=self._vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            auto_minor_version_upgrade=False,  # a deployment would set it back
            port=DATABASE_PORT,
            database_name=DATABASE,
            credentials=rds.Credentials.from_secret(self._password),
            storage_type=rds.StorageType.GP3,
            allocated_storage=20,
            max_allocated_storage=100,
            storage_encrypted=True,
            storage_encryption_key=self._key,
            backup_retention=Duration.days(14),
            deletion_protection=True,
            removal_policy=RemovalPolicy.SNAPSHOT,
        )
        explain(database, {"RDS3": "it holds the history of runs, which a backup brings back; all data is in S3"})
        return database

    def _roles(self) -> list[iam.IRole]:
        """Return the roles of the web server, of the daemon and its runs, and of what starts both."""
        tasks = iam.ServicePrincipal("ecs-tasks.amazonaws.com")
        made = (
            ("Pages", names.DAGSTER_WEB_ROLE, self._web_may(), "What Dagster's web server may do"),
            ("Runs", names.DAGSTER_ROLE, self._daemon_may(), "What Dagster's daemon and its runs may do"),
            ("Starts", f"{names.DAGSTER_ROLE}-start", self._ecs_may(), "What starting Dagster takes"),
        )
        return [
            role(Construct(self, id_), name, tasks, may, does).without_policy_updates() for id_, name, may, does in made
        ]

    def _web_may(self) -> Sequence[Statement]:
        """All else that its pages show is in PostgreSQL; what they start is run by the daemon."""
        return [
            allow("s3:GetObject", on=objects(names.COMPUTE_LOGS), because="each step prints on its own"),
            decrypt(self._data.raw_key.key_arn, "s3"),  # the lake's own: Dagster names no key for what is printed
        ]

    def _daemon_may(self) -> Sequence[Statement]:
        data = self._data
        return [
            *takes_part(data),
            *queries(data),
            *scores_surveys(),
            allow(
                *("glue:BatchStopJobRun", "glue:GetJob", "glue:GetJobRun", "glue:GetJobRuns", "glue:StartJobRun"),
                on=[arn("glue", f"job/{names.ETL_JOB}")],
            ),
            allow(
                *("s3:GetObject", "s3:PutObject"),
                on=objects(names.COMPUTE_LOGS, names.PENDING_DAYS, names.ALERTS),
                because="each step prints, and each failure is announced, on its own",
            ),
            allow("s3:GetObject", "s3:PutObject", on=objects(names.REPORTS), because="each week has a report"),
            # Which forms have a link, so that staff hear of those that have none.
            allow(
                "dynamodb:Query",
                on=[arn("dynamodb", f"table/{names.ENROLMENT_TABLE}")],
                when={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["survey"]}},
            ),
            allow(
                "s3:DeleteObject",
                on=[*objects(names.ALERTS), *objects(f"{names.REPORTS}mailed-")],
                because="a message that got stuck is to be tried again",
            ),
            takes_from(names.ARRIVALS),
            allow("sts:AssumeRole", on=[names.role_arn(names.ARCHIVER_ROLE)]),  # for backups alone
            allow("sns:Publish", on=[self._ops.topic.topic_arn, self._ops.report_topic.topic_arn]),
            encrypt(data.rest_key.key_arn, "sns"),
        ]

    def _ecs_may(self) -> Sequence[Statement]:
        return [
            allow("ecr:GetAuthorizationToken", on=["*"], because="a token is for the whole registry of the account"),
            allow(
                *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
                on=[arn("ecr", f"repository/{names.IMAGE_REPOSITORY}")],
            ),
            allow("secretsmanager:GetSecretValue", on=[self._password.secret_arn]),
            decrypt(self._data.rest_key.key_arn, "secretsmanager"),
            *(_writes_logs(program.log_group) for program in (WEB, DAEMON)),
        ]

    def _service(self, cluster: ecs.Cluster, program: Program, may: iam.IRole) -> ecs.FargateService:
        place = Construct(self, program.name)
        definition = ecs.FargateTaskDefinition(
            place,
            "Task",
            family=f"qol-dagster-{program.name}",
            cpu=512,
            memory_limit_mib=program.memory_mb,
            runtime_platform=ecs.RuntimePlatform(cpu_architecture=ecs.CpuArchitecture.ARM64),
            task_role=may,
            execution_role=self._starts,
        )
        repository = ecr.Repository.from_repository_name(place, "Images", names.IMAGE_REPOSITORY)
        definition.add_container(
            program.name,
            image=ecs.ContainerImage.from_ecr_repository(repository, self._settings.dagster_image_tag),
            command=[*program.command],
            environment=dict(self._environment()),
            secrets={"DAGSTER_POSTGRES_PASSWORD": ecs.Secret.from_secrets_manager(self._password, "password")},
            logging=ecs.LogDriver.aws_logs(
                stream_prefix=program.name, log_group=log_group_of(place, program.log_group)
            ),
            port_mappings=[ecs.PortMapping(container_port=WEB_PORT)] if program is WEB else None,
        )
        explain(definition, {"ECS2": NO_SECRET})
        least, most = program.percent
        return ecs.FargateService(
            place,
            "Service",
            service_name=f"dagster-{program.name}",
            cluster=cluster,
            task_definition=definition,
            desired_count=1,
            min_healthy_percent=least,
            max_healthy_percent=most,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            assign_public_ip=False,
        )

    def _environment(self) -> Mapping[str, str]:
        return {
            **self._ops.staff_settings,
            "QOL_BACKUP_ROLE": names.role_arn(names.ARCHIVER_ROLE),
            # A day with very many files takes longer to list than Dagster gives a sensor by itself.
            "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "300",
            "DAGSTER_POSTGRES_HOST": self._database.db_instance_endpoint_address,
            "DAGSTER_POSTGRES_PORT": str(DATABASE_PORT),
            "DAGSTER_POSTGRES_USER": USER,
            "DAGSTER_POSTGRES_DB": DATABASE,
        }

    def _load_balancer(self, web: ecs.FargateService) -> None:
        balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            vpc=self._vpc,
            internet_facing=True,
            drop_invalid_header_fields=True,
            deletion_protection=True,
        )
        for name, value in {"enabled": "true", "bucket": names.access_logs(), "prefix": "dagster"}.items():
            balancer.set_attribute(f"access_logs.s3.{name}", value)
        explain(balancer, {"EC23": "people sign in from anywhere; whoever is not signed in gets no further than this"})
        targets = elb.ApplicationTargetGroup(
            self,
            "Web",
            vpc=self._vpc,
            port=WEB_PORT,
            protocol=elb.ApplicationProtocol.HTTP,
            targets=[web],
            health_check=elb.HealthCheck(path="/server_info", interval=Duration.seconds(30)),
            deregistration_delay=Duration.seconds(10),
        )
        to_dagster = elb.ListenerAction.forward([targets])
        listener = balancer.add_listener(
            "Https",
            port=443,
            certificates=[elb.ListenerCertificate(self._settings.dagster_certificate_arn)],
            ssl_policy=elb.SslPolicy.TLS13_RES,
            default_action=self._signed_in(to_dagster),
        )
        token = self._data.dagster_token.secret_value.unsafe_unwrap()  # a reference: the template holds no token
        listener.add_action(
            "WeeklyStart",
            priority=1,
            conditions=[
                elb.ListenerCondition.path_patterns(["/graphql"]),
                elb.ListenerCondition.http_request_methods(["POST"]),
                elb.ListenerCondition.http_header("authorization", [f"Bearer {token}"]),
            ],
            action=to_dagster,
        )
        CfnOutput(self, "DagsterTarget", value=balancer.load_balancer_dns_name)

    def _signed_in(self, then: elb.ListenerAction) -> elb.ListenerAction:
        pool = cognito.UserPool(
            self,
            "People",
            user_pool_name="qol-dagster",
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            mfa=cognito.Mfa.REQUIRED,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
            password_policy=cognito.PasswordPolicy(
                min_length=12, require_digits=True, require_lowercase=True, require_symbols=True, require_uppercase=True
            ),
            feature_plan=cognito.FeaturePlan.PLUS,
            standard_threat_protection_mode=cognito.StandardThreatProtectionMode.FULL_FUNCTION,
            account_recovery=cognito.AccountRecovery.NONE,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        host = urlsplit(self._settings.dagster_url).netloc
        client = pool.add_client(
            "Balancer",
            generate_secret=True,
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID],
                callback_urls=[f"https://{host}/oauth2/idpresponse"],
            ),
        )
        prefix = cognito.CognitoDomainOptions(domain_prefix=f"qol-dagster-{self.account}")
        return elb_actions.AuthenticateCognitoAction(
            user_pool=pool,
            user_pool_client=client,
            user_pool_domain=pool.add_domain("SignIn", cognito_domain=prefix),
            session_timeout=Duration.hours(12),
            next=then,
        )


def _writes_logs(group: str) -> Statement:
    return allow(
        *("logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents"),
        on=[arn("logs", f"log-group:{group}:*")],
        because="the streams of one group, named as they come",
    )
