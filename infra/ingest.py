"""The stack from Garmin's request to a raw object: an HTTP API, and the Lambdas behind it and behind the queues.

Belongs here: what is called by whom, which limits hold, and what each Lambda gets and may do. What is kept is in
the stack of data.

    POST /garmin/{secret}    garmin_webhook_receiver
    GET, HEAD /health        garmin_webhook_receiver
    GET  /oauth/...          qol-oauth
    POST /oauth/start/go     qol-oauth
    GET, POST /survey        qol-survey
    GET  /survey/done        qol-survey
    queue qol-pings          qol-puller
    every five minutes       qol-spill-drain

Access logs hold the route and never the path or the query: the one holds the webhook's secret, the other a
participant's code. No address of a participant is logged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_apigatewayv2 as api
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_lambda as lambda_

from infra import names
from infra.access import Statement, allow, decrypt, encrypt, explain, seal
from infra.data import DRAIN_S, PULL_S, DataStack
from infra.functions import ONE_CPU_MB, QolFunction, log_group_of, schedule
from infra.names import arn, objects
from infra.settings import DeploySettings

if TYPE_CHECKING:
    from constructs import Construct

ANSWER_S = 29
"""API Gateway waits for 30 s, and so does Garmin."""
LOGGED = ("requestId", "requestTime", "httpMethod", "routeKey", "status", "responseLatency", "responseLength")
PUSHES_A_SECOND, PUSHES_AT_ONCE = 200, 400
"""Ten times what 10,000 participants send. Beyond that Garmin is answered 429, and sends again."""
FORMS_A_SECOND, FORMS_AT_ONCE = 50, 100
"""Pages of the questionnaire that are sent: some thousands may answer on the evening of the letter, and a browser that
is answered 429 may lose its marks."""
OTHERS_A_SECOND, OTHERS_AT_ONCE = 10, 20
"""Of each other route, so that whoever opens pages by the hundred takes nothing from the pushes."""
PUSHES, PAGES, BUTTON = "/garmin/{secret}", "/oauth/{proxy+}", "/oauth/start/go"
FORM, THANKS = "/survey", "/survey/done"
PULLERS = 5
"""Downloads at a time: Garmin limits how often it is asked."""

KNOWN = ("garmin_user_id", "pending_count", "version", "seen_at")
"""What the receiver reads of the id map."""
NOTED = ("garmin_user_id", "seen_at")
"""What it writes of a user who is known."""
CHANGED = ("guesses", "invitation", "sign-in")
"""The kinds of enrolment state that a visit changes. Entry codes are made by staff alone."""
ANSWERED = ("guesses", "survey")
"""Those that a visit of the questionnaire changes: its draft, and wrong codes. Links are made by staff alone."""
IN_A_TRANSACTION = {"ForAnyValue:StringEquals": {"dynamodb:EnclosingOperation": ["TransactWriteItems"]}}
WRITTEN_BY_RECEIPT = (names.RAW_DAILY, names.QUARANTINE, names.RAW_LIFECYCLE, names.RAW_PINGS)
HASHED = "objects are named by the hash of what they hold"
NO_SIGNATURE = (
    "Garmin cannot sign its requests: the receiver compares a secret in the path, and the client id in a header, in "
    "constant time, and answers 403"
)
NO_ACCOUNT = "participants have no account: an entry code, good once, is what they show"


class IngestStack(Stack):
    """Takes what Garmin sends, connects participants, fetches what pings announce, stores what was spilled."""

    def __init__(self, scope: Construct, id_: str, settings: DeploySettings, data: DataStack, **options: Any) -> None:
        super().__init__(scope, id_, **options)
        http, stage = self._api(settings)
        self.api_id = http.api_id
        self.public_url = f"https://{settings.public_domain}" if settings.public_domain else http.api_endpoint
        receiver = self._receiver(settings, data)
        oauth = self._oauth(settings, data)
        self._puller(settings, data)
        self._drain(data)
        survey = self._survey(settings, data)
        receives = integrations.HttpLambdaIntegration("receives", receiver.function)
        connects = integrations.HttpLambdaIntegration("connects", oauth.function)
        asks = integrations.HttpLambdaIntegration("asks", survey.function)
        says = "it says that the receiver runs, and nothing else"
        pushes = _route(http, [api.HttpMethod.POST], PUSHES, receives, NO_SIGNATURE)
        _route(http, [api.HttpMethod.GET, api.HttpMethod.HEAD], "/health", receives, says)
        _route(http, [api.HttpMethod.GET], PAGES, connects, NO_ACCOUNT)
        _route(http, [api.HttpMethod.POST], BUTTON, connects, NO_ACCOUNT)
        forms = _route(http, [api.HttpMethod.GET, api.HttpMethod.POST], FORM, asks, NO_ACCOUNT)
        _route(http, [api.HttpMethod.GET], THANKS, asks, NO_ACCOUNT)
        for route in (*pushes, *forms):
            stage.node.add_dependency(route)  # whose limits it names
        if settings.public_domain:
            self._domain(settings, stage)
        CfnOutput(self, "PublicUrl", value=self.public_url)

    def _receiver(self, settings: DeploySettings, data: DataStack) -> QolFunction:
        return QolFunction(
            self,
            names.WEBHOOK,
            "webhook.handler",
            does="Takes Garmin's pushes: safe first, then answered, processed later",
            may=[
                allow("s3:PutObject", on=objects(*WRITTEN_BY_RECEIPT), because=HASHED),
                allow("sqs:SendMessage", on=[arn("sqs", names.SPILL)]),
                encrypt(data.raw_key.key_arn, "s3", "sqs"),
                *asks_who_left(data),
                # It learns who is known, and never as whom; it notes new users, together with how many there are.
                allow("dynamodb:BatchGetItem", on=[_table(names.ID_MAP_TABLE)], when=_only_attributes(*KNOWN)),
                allow("dynamodb:PutItem", on=[_table(names.ID_MAP_TABLE)], when=IN_A_TRANSACTION),
                allow("dynamodb:UpdateItem", on=[_table(names.ID_MAP_TABLE)], when=_only_attributes(*NOTED)),
                encrypt(data.map_key.key_arn, "dynamodb"),
                *_reads(data.webhook_secret.secret_arn, data),
            ],
            environment={
                "QOL_BUCKET": names.lake(),
                "QOL_SPILL_QUEUE_URL": data.queues[names.SPILL].queue_url,
                "QOL_ID_MAP_TABLE": names.ID_MAP_TABLE,
                "QOL_WEBHOOK_SECRET_ARN": data.webhook_secret.secret_arn,
                "QOL_GARMIN_CLIENT_ID": settings.garmin_client_id,
            },
            timeout_s=ANSWER_S,
            memory_mb=ONE_CPU_MB,  # parsing a large body is all it waits for, and Garmin waits with it
        )

    def _survey(self, settings: DeploySettings, data: DataStack) -> QolFunction:
        return QolFunction(
            self,
            names.SURVEY,
            "survey.on_aws.handler",
            does="Asks participants the questionnaire, and stores each page before anything else",
            may=[
                allow("s3:PutObject", on=objects(names.RAW_SURVEYS), because=HASHED),
                seal(data.raw_key.key_arn, "s3"),
                allow("s3:GetObject", on=objects(names.SURVEY_TEXTS), because="one for each language"),
                allow(
                    "s3:ListBucket",
                    on=[f"arn:aws:s3:::{names.lake()}"],
                    when={"StringEquals": {"s3:prefix": names.SURVEY_TEXTS}},
                ),
                decrypt(data.rest_key.key_arn, "s3"),
                allow(
                    "dynamodb:GetItem", on=[_table(names.ENROLMENT_TABLE)], when=_only_keys("survey-code", *ANSWERED)
                ),
                allow("dynamodb:PutItem", on=[_table(names.ENROLMENT_TABLE)], when=_only_keys(*ANSWERED)),
                encrypt(data.map_key.key_arn, "dynamodb"),
                *_reads(data.survey_key.secret_arn, data),
            ],
            environment={
                **_words(settings),
                "QOL_BUCKET": names.lake(),
                "QOL_ENROLMENT_TABLE": names.ENROLMENT_TABLE,
                "QOL_SURVEY_KEY_ARN": data.survey_key.secret_arn,
            },
            timeout_s=ANSWER_S,
            memory_mb=512,
        )

    def _oauth(self, settings: DeploySettings, data: DataStack) -> QolFunction:
        return QolFunction(
            self,
            names.OAUTH,
            "consent.oauth.handler",
            does="Lets participants connect their Garmin account",
            may=[
                *_uses_tokens(data, "CreateSecret", "GetSecretValue", "PutSecretValue"),
                allow("dynamodb:GetItem", "dynamodb:PutItem", on=[_table(names.ID_MAP_TABLE)]),
                *asks_who_left(data),
                *notes_who_is_back(),
                allow("dynamodb:GetItem", on=[_table(names.ENROLMENT_TABLE)], when=_only_keys("code", *CHANGED)),
                allow("dynamodb:PutItem", on=[_table(names.ENROLMENT_TABLE)], when=_only_keys(*CHANGED)),
                encrypt(data.map_key.key_arn, "dynamodb"),
                *_reads(data.garmin_client_secret.secret_arn, data),
            ],
            environment={
                **_at_garmin(settings, data),
                **_words(settings),
                "QOL_PUBLIC_URL": self.public_url,
                "QOL_BUCKET": names.lake(),
                "QOL_LEDGER_KEY": data.map_key.key_arn,
                "QOL_ENROLMENT_TABLE": names.ENROLMENT_TABLE,
            },
            timeout_s=ANSWER_S,
            memory_mb=512,
        )

    def _puller(self, settings: DeploySettings, data: DataStack) -> None:
        puller = QolFunction(
            self,
            names.PULLER,
            "pulling.puller.handler",
            does="Fetches what pings announce, and applies what Garmin announces of its users",
            may=[
                *_reads_and_writes_raw(names.PULLED, names.FILES),
                *asks_who_left(data),
                encrypt(data.raw_key.key_arn, "s3"),
                *_uses_tokens(data, "DeleteSecret", "GetSecretValue", "PutSecretValue"),
                allow("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan", on=[_table(names.ID_MAP_TABLE)]),
                encrypt(data.map_key.key_arn, "dynamodb"),
                *_reads(data.garmin_client_secret.secret_arn, data),
                takes_from(names.PINGS),
                allow("sqs:SendMessage", on=[arn("sqs", names.PINGS), arn("sqs", names.PINGS + names.DEAD)]),
            ],
            environment={
                **_at_garmin(settings, data),
                "QOL_BUCKET": names.lake(),
                "QOL_PULL_QUEUE_URL": data.queues[names.PINGS].queue_url,
                "QOL_DEAD_LETTER_URL": data.queues[names.PINGS + names.DEAD].queue_url,
            },
            timeout_s=PULL_S,
            memory_mb=1024,
        )
        lambda_.EventSourceMapping(
            self,
            "Pings",
            target=puller.function,
            event_source_arn=arn("sqs", names.PINGS),
            batch_size=1,  # one message may use all the time there is
            max_concurrency=PULLERS,
            report_batch_item_failures=True,
        )
        # A refresh token that nobody uses dies after 90 days: those of pushed participants are used for nothing else.
        schedule(self, "qol-tokens-schedule", "rate(1 day)", puller.function.function_arn, payload={"renew": "tokens"})

    def _drain(self, data: DataStack) -> None:
        drain = QolFunction(
            self,
            names.DRAIN,
            "webhook.drain_handler",
            does="Stores what was spilled while S3 did not take it",
            may=[
                *_reads_and_writes_raw(),
                *asks_who_left(data),
                encrypt(data.raw_key.key_arn, "s3", "sqs"),
                takes_from(names.SPILL),
            ],
            environment={"QOL_BUCKET": names.lake(), "QOL_SPILL_QUEUE_URL": data.queues[names.SPILL].queue_url},
            timeout_s=DRAIN_S,
            memory_mb=1024,
        )
        schedule(self, f"{names.DRAIN}-schedule", "rate(5 minutes)", drain.function.function_arn)

    def _api(self, settings: DeploySettings) -> tuple[api.HttpApi, api.HttpStage]:
        http = api.HttpApi(
            self,
            "Api",
            api_name="qol",
            create_default_stage=False,
            # Nobody should find two addresses, of which one is not registered at Garmin.
            disable_execute_api_endpoint=bool(settings.public_domain),
        )
        stage = api.HttpStage(
            self,
            "Stage",
            http_api=http,
            stage_name="$default",
            auto_deploy=True,
            throttle=api.ThrottleSettings(rate_limit=OTHERS_A_SECOND, burst_limit=OTHERS_AT_ONCE),
            detailed_metrics_enabled=True,
        )
        logs = log_group_of(self, "/aws/apigateway/qol")
        made = cast("api.CfnStage", stage.node.default_child)
        own = {
            f"POST {PUSHES}": (PUSHES_A_SECOND, PUSHES_AT_ONCE),
            f"GET {FORM}": (FORMS_A_SECOND, FORMS_AT_ONCE),
            f"POST {FORM}": (FORMS_A_SECOND, FORMS_AT_ONCE),
        }
        made.route_settings = {
            route: {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst, "DetailedMetricsEnabled": True}
            for route, (rate, burst) in own.items()
        }
        made.access_log_settings = api.CfnStage.AccessLogSettingsProperty(
            destination_arn=arn("logs", "log-group:/aws/apigateway/qol"),
            format=json.dumps({name: f"$context.{name}" for name in LOGGED}),
        )
        stage.node.add_dependency(logs)
        return http, stage

    def _domain(self, settings: DeploySettings, stage: api.HttpStage) -> None:
        certificate = acm.Certificate.from_certificate_arn(self, "Certificate", settings.public_certificate_arn)
        domain = api.DomainName(self, "Domain", domain_name=settings.public_domain, certificate=certificate)
        api.ApiMapping(self, "Mapping", api=stage.api, domain_name=domain, stage=stage)
        CfnOutput(self, "PublicDomainTarget", value=domain.regional_domain_name)


def _route(
    http: api.HttpApi,
    methods: Sequence[api.HttpMethod],
    path: str,
    to: integrations.HttpLambdaIntegration,
    why_open: str,
) -> list[api.HttpRoute]:
    routes = http.add_routes(path=path, methods=[*methods], integration=to)
    for route in routes:
        explain(route, {"APIG4": why_open})
    return routes


def _words(settings: DeploySettings) -> dict[str, str]:
    """Return what pages say of the programme."""
    optional = {
        "QOL_PROGRAMME_JA": settings.programme_ja,
        "QOL_PROGRAMME_EN": settings.programme_en,
        "QOL_CONTACT": settings.contact,
    }
    return {name: value for name, value in optional.items() if value}


def _at_garmin(settings: DeploySettings, data: DataStack) -> dict[str, str]:
    """Return what a Lambda needs to speak to Garmin in a participant's name."""
    cloud = {"QOL_GARMIN_URL": settings.garmin_url} if settings.garmin_url else {}
    return {
        **cloud,
        "QOL_ID_MAP_TABLE": names.ID_MAP_TABLE,
        "QOL_GARMIN_CLIENT_ID": settings.garmin_client_id,
        "QOL_GARMIN_CLIENT_SECRET_ARN": data.garmin_client_secret.secret_arn,
        "QOL_TOKEN_PREFIX": names.TOKEN_PREFIX,
        "QOL_TOKEN_KMS_KEY": data.map_key.key_arn,
    }


def _uses_tokens(data: DataStack, *calls: str) -> Sequence[Statement]:
    return (
        allow(
            *(f"secretsmanager:{call}" for call in calls),
            on=[arn("secretsmanager", f"secret:{names.TOKEN_PREFIX}*")],
            because="each participant's tokens are a secret of their own, named by a hash",
        ),
        encrypt(data.map_key.key_arn, "secretsmanager"),
    )


def _reads(secret_arn: str, data: DataStack) -> Sequence[Statement]:
    return (
        allow("secretsmanager:GetSecretValue", on=[secret_arn]),
        decrypt(data.rest_key.key_arn, "secretsmanager"),
    )


def _reads_and_writes_raw(*more: str) -> Sequence[Statement]:
    """Without ListBucket, S3 says 403 of a key that is not there, and nobody could distinguish the two.

    That holds for the whole bucket only: a request for one object has no prefix that a condition could look at.
    """
    return (
        allow("s3:GetObject", "s3:PutObject", on=objects(*WRITTEN_BY_RECEIPT, *more), because=HASHED),
        allow("s3:ListBucket", on=[f"arn:aws:s3:::{names.lake()}"]),
    )


def asks_who_left(data: DataStack) -> Sequence[Statement]:
    """Return what it takes to read the ledger of who withdrew or was erased: whether there is one says a listing."""
    return (
        encrypt(data.map_key.key_arn, "s3"),
        allow("s3:GetObject", on=_objects(names.LEDGER, names.LEDGER_KEY)),
        allow(
            "s3:ListBucket",
            on=[f"arn:aws:s3:::{names.lake()}"],
            when={"StringEquals": {"s3:prefix": [names.LEDGER, names.LEDGER_KEY]}},
        ),
    )


def notes_who_is_back() -> Sequence[Statement]:
    """Return what it takes to append to the ledger: whoever withdrew may connect again."""
    return (allow("s3:PutObject", on=_objects(names.LEDGER, names.LEDGER_KEY)),)


def _objects(*keys: str) -> list[str]:
    return [f"arn:aws:s3:::{names.lake()}/{key}" for key in keys]


def takes_from(queue: str) -> Statement:
    """Return what it takes to drain a queue."""
    return allow(
        *("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
        on=[arn("sqs", queue)],
    )


def _only_attributes(*attributes: str) -> Mapping[str, Any]:
    """Return the condition that a request asks for these attributes by name, and for no others."""
    return {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": [*attributes]},
        "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
    }


def _only_keys(*keys: str) -> Mapping[str, Any]:
    """Return the condition that a request is about items with these partition keys."""
    return {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [*keys]}}


def _table(name: str) -> str:
    return arn("dynamodb", f"table/{name}")
