"""The chart's values, as models: values.yaml, values.schema.json and the README's table come from them."""

from typing import Annotated, Literal

from pydantic import Field

from vllm_operator.api.embedded import Embedded
from vllm_operator.api.meta import Model, list_set
from vllm_operator.api.parts import DNS_LABEL, DNS_NAME, ResourceQuantities, Variable
from vllm_operator.api.pod import RESERVED_LABELS, Annotations, Labels, Spreads
from vllm_operator.config import Settings
from vllm_operator.generate.value_images import AllowedImages, DefaultImages, Image, PullSecret

OWN_LABELS = ("app.kubernetes.io/part-of", "app.kubernetes.io/version")
"""Labels of the chart that others may set on pods of theirs."""

_SETTINGS = Settings()

Namespace = Annotated[str, Field(max_length=63, pattern=f"^{DNS_LABEL}$")]
OptionalName = Annotated[str, Field(max_length=253, pattern=f"^({DNS_NAME})?$")]
Duration = Annotated[str, Field(max_length=16, pattern=r"^([0-9]+(ms|s|m|h))+$")]
ExtraLabels = Annotated[
    Labels, Field(json_schema_extra={"properties": dict.fromkeys((*RESERVED_LABELS, *OWN_LABELS), False)})
]
Port = Annotated[int, Field(ge=1, le=65535)]


class GaudiNodes(Model):
    """Labels of nodes with Gaudi cards."""

    all: Labels = Field(default={})
    """Labels of nodes with Gaudi cards, such as `{gaudi: "true"}`: prefetch Jobs of Gaudi servers run
    there, so that no volume is bound elsewhere."""
    g2: Labels = Field(default={})
    """Labels of nodes with Gaudi 2, for `spec.gaudi.generation`; and FP8 pods run only where the generation
    is that of their calibration."""
    g3: Labels = Field(default={})
    """Labels of nodes with Gaudi 3."""


class Verify(Model):
    """Asking servers for a token."""

    enabled: bool = _SETTINGS.verify
    """Ask servers through their Services for their models and one token, once a revision serves and every
    half hour: condition `Verified`."""
    proxy: Annotated[str, Field(max_length=512, pattern=r"^(https?://[^/?#\s]+/?)?$")] = ""
    """HTTP proxy through which they are asked, such as `http://proxy:3128`. Empty: none."""


class Resources(Model):
    """Compute resources of the operator's container."""

    requests: ResourceQuantities = Field(
        default={"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "16Mi"}
    )
    """What a node must have free."""
    limits: ResourceQuantities = Field(default={"cpu": "1", "memory": "512Mi", "ephemeral-storage": "128Mi"})
    """The most that the container may use. The operator takes up to 90 MB and 20 kB for each server, and
    works on one CPU at a time."""


class ServiceAccount(Model):
    """The operator's account."""

    create: bool = True
    """Make the ServiceAccount. Roles are bound to it in either case."""
    name: OptionalName = ""
    """Its name. Empty: that of the release if it is made, else `default`."""
    annotations: Annotations = Field(default={})
    """Annotations of the ServiceAccount that is made."""


class Enabled(Model):
    """A switch."""

    enabled: bool = True
    """Make the PodDisruptionBudget: of the replicas one may be evicted at a time."""


class IPBlock(Model):
    """A range of addresses."""

    cidr: Annotated[str, Field(max_length=64, pattern="^[0-9a-fA-F.:]+/[0-9]{1,3}$")]
    """The range, such as `10.0.0.0/8`."""
    except_: Annotated[
        list[Annotated[str, Field(max_length=64, pattern="^[0-9a-fA-F.:]+/[0-9]{1,3}$")]],
        Field(alias="except", max_length=64),
    ] = Field(default=[])
    """Ranges in it that are left out."""


class Peer(Model):
    """Who may connect: a NetworkPolicyPeer."""

    namespace_selector: Annotated[Model, Embedded("LabelSelector")] | None = None
    """Labels of the peer's namespace."""
    pod_selector: Annotated[Model, Embedded("LabelSelector")] | None = None
    """Labels of the peer's pods. Without namespaceSelector: in the release's namespace."""
    ip_block: IPBlock | None = None
    """Addresses of the peer; not together with the others."""


class NetworkPolicy(Model):
    """Who may reach the operator, and whom it may reach."""

    enabled: bool = False
    """Make a NetworkPolicy for the operator's pods: in, metrics for `metricsFrom`; out, DNS, the API server,
    and servers that are verified, or the port of `verify.proxy`."""
    metrics_from: Annotated[list[Peer], Field(max_length=32)] = Field(default=[])
    """Peers that may ask for metrics (networking/v1 NetworkPolicyPeer), such as Prometheus. The kubelet's
    probes are always let through by the network itself."""
    dns_ports: Annotated[list[Port], Field(min_length=1, max_length=8)] = Field(default=[53])
    """Ports of the cluster's DNS pods. On OpenShift: 5353."""
    api_server_ports: Annotated[list[Port], Field(min_length=1, max_length=8)] = Field(default=[443, 6443])
    """Ports of the API server: what its Service leads to (`kubectl get endpointslices kubernetes`)."""
    api_server_cidrs: Annotated[
        list[Annotated[str, Field(max_length=64, pattern="^[0-9a-fA-F.:]+/[0-9]{1,3}$")]],
        Field(max_length=32),
    ] = Field(default=[])
    """Addresses of the API server, such as `10.0.0.1/32`. Empty: any address, on its ports."""


class Service(Model):
    """The Service for metrics and health."""

    port: Port = 8080
    """Port of the Service with /metrics, /healthz and /readyz."""
    annotations: Annotations = Field(default={})
    """Annotations of the Service."""


class ServiceMonitor(Model):
    """Scraping by the Prometheus Operator."""

    enabled: bool = False
    """Make a ServiceMonitor (the Prometheus Operator's kind)."""
    labels: Labels = Field(default={})
    """Labels by which a Prometheus selects it, such as `{release: kube-prometheus-stack}`."""
    interval: Duration = "30s"
    """Time between scrapes."""


class PrometheusRule(Model):
    """Alerts for the Prometheus Operator."""

    enabled: bool = False
    """Make a PrometheusRule with the chart's `alerts.yaml`."""
    labels: Labels = Field(default={})
    """Labels by which a Prometheus selects it."""
    runbook_url: Annotated[str, Field(max_length=512, pattern=r"^(https?://[^\s]*\{alert\}[^\s]*)?$")] = ""
    """Where you keep `docs/runbooks`, with `{alert}` for the alert's name, such as
    `https://git.example.com/vllm-operator/blob/main/docs/runbooks/{alert}.md`: annotation `runbook_url` of
    every alert. Empty: none."""


class GrafanaDashboards(Model):
    """Dashboards for Grafana's sidecar."""

    enabled: bool = False
    """Make a ConfigMap of each dashboard in the chart's `dashboards`."""
    labels: Labels = Field(default={"grafana_dashboard": "1"})
    """Labels by which Grafana's sidecar finds them."""


class Values(Model):
    """The chart's values."""

    image: Image = Image()
    """The operator's image."""
    image_pull_secrets: Annotated[list[PullSecret], Field(max_length=16)] = Field(default=[])
    """Secrets with which the operator's image is pulled."""
    replicas: Annotated[int, Field(ge=0, le=8)] = 2
    """Copies of the operator. One holds the Lease and reconciles, the others stand by: two are enough."""
    watch_namespaces: Annotated[list[Namespace], Field(max_length=256), *list_set()] = Field(default=[])
    """Namespaces that the operator looks after. They must exist. It then has Roles in these and no
    ClusterRole. Empty: all namespaces, with a ClusterRole."""
    default_images: DefaultImages = DefaultImages()
    """Images of servers that name none."""
    allowed_images: Annotated[list[AllowedImages], Field(max_length=64), *list_set()] = Field(default=[])
    """Registries, with or without the beginning of a path, that images may be of, such as
    `registry.example.com/models/`. The default images must be among them. Empty: all."""
    platform_assigns_ids: bool = False
    """Leave uid, gid and fsGroup of the operator's pod and of all pods that it makes to the platform, as
    OpenShift wants it."""
    gaudi_nodes: GaudiNodes = GaudiNodes()
    """Labels of nodes with Gaudi cards."""
    read_logs: bool = _SETTINGS.read_logs
    """Read the last lines of logs to tell how far a start has come. With `false` the operator has no right
    to `pods/log`."""
    verify: Verify = Verify()
    """Asking servers for a token."""
    workers: Annotated[int, Field(ge=1, le=256)] = _SETTINGS.workers
    """Servers that are reconciled at the same time."""
    log_level: Literal["debug", "info", "warning"] = "info"
    """Least severity of what is logged."""
    aggregate_roles: bool = True
    """Make ClusterRoles that add both kinds to Kubernetes' own roles view, edit and admin. One release in a
    cluster is enough: switch it off in others."""
    resources: Resources = Resources()
    """Compute resources of the operator's container."""
    node_selector: Labels = Field(default={})
    """Labels that a node must have for the operator's pods."""
    tolerations: Annotated[list[Annotated[Model, Embedded("Toleration")]], Field(max_length=32)] = Field(
        default=[]
    )
    """Taints of nodes that the operator's pods tolerate (core/v1 Toleration)."""
    affinity: Annotated[Model, Embedded("Affinity")] = Field(default={}, validate_default=True)
    """Nodes and pods that the operator's pods are drawn to or kept from (core/v1 Affinity)."""
    topology_spread_constraints: Spreads = Field(
        default=[
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        validate_default=True,
    )
    """How the operator's pods are spread (core/v1 TopologySpreadConstraint). Without labelSelector: over
    this release's own."""
    priority_class_name: OptionalName = ""
    """PriorityClass of the operator's pods, such as `system-cluster-critical`."""
    extra_labels: ExtraLabels = Field(default={})
    """Further labels of every object of the chart, and of the operator's pods."""
    pod_annotations: Annotations = Field(default={})
    """Annotations of the operator's pods."""
    extra_env: Annotated[list[Variable], Field(max_length=64)] = Field(default=[])
    """Further environment variables of the operator (core/v1 EnvVar): none that another value sets."""
    service_account: ServiceAccount = ServiceAccount()
    """The operator's account."""
    pod_disruption_budget: Enabled = Enabled()
    """Evictions of the operator's pods."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """Who may reach the operator, and whom it may reach."""
    service: Service = Service()
    """The Service for metrics and health."""
    service_monitor: ServiceMonitor = ServiceMonitor()
    """Scraping by the Prometheus Operator."""
    prometheus_rule: PrometheusRule = PrometheusRule()
    """Alerts for the Prometheus Operator."""
    grafana_dashboards: GrafanaDashboards = GrafanaDashboards()
    """Dashboards for Grafana's sidecar."""
