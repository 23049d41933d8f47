{{/* Name of the chart's objects, a Service among them. Quote it, like all that users choose: `true` and 123 are names. */}}
{{- define "vllm-operator.fullname" -}}
{{- $own := contains .Chart.Name .Release.Name -}}
{{- $name := $own | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "The release's name %q would make a Service %q, whose name must begin with a letter and hold nothing but a-z, 0-9 and -: install it by another name, such as %s" .Release.Name $name .Chart.Name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/*
Two operators in one namespace would share its Lease, and one of them would never work. `helm template`, and so Argo CD,
asks no cluster: there nothing is found.
*/}}
{{- define "vllm-operator.checkAlone" -}}
{{- range (lookup "apps/v1" "Deployment" .Release.Namespace "").items -}}
{{- $labels := .metadata.labels | default dict -}}
{{- $other := get $labels "app.kubernetes.io/instance" -}}
{{- if and (eq (get $labels "app.kubernetes.io/part-of") "vllm-operator") (ne $other $.Release.Name) -}}
{{- fail (printf "Namespace %s has an operator already: Deployment %s of release %s. They would share the Lease, and one of them would never work. Upgrade that release, or install this one into a namespace of its own (-n)" $.Release.Namespace .metadata.name $other) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vllm-operator.selectorLabels" -}}
app.kubernetes.io/name: vllm-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* What finds the operator's pods, and not that of `helm test`. A Deployment's selector can never change. */}}
{{- define "vllm-operator.operatorLabels" -}}
{{ include "vllm-operator.selectorLabels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Helm adds the label managed-by itself when it installs. */}}
{{- define "vllm-operator.labels" -}}
{{ include "vllm-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: vllm-operator
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "vllm-operator.serviceAccountName" -}}
{{- $made := ternary (include "vllm-operator.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end -}}

{{- define "vllm-operator.image" -}}
{{- with .Values.image -}}
{{- if and .tag .digest -}}
{{- fail (printf "image.tag and image.digest: give one of them. A digest alone decides which image it is: to go over to tag %s, set image.digest to '' too (--set image.digest=)" .tag) -}}
{{- else if eq .tag "latest" -}}
{{- fail "image.tag: latest moves, and microservices run from this image: give a fixed tag or a digest" -}}
{{- else if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Pods of a platform that assigns ids name none. */}}
{{- define "vllm-operator.podSecurityContext" -}}
runAsNonRoot: true
{{- if not .Values.platformAssignsIds }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "vllm-operator.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What the operator may do in a namespace, or in all. */}}
{{- define "vllm-operator.rules" -}}
{{- $rules := list -}}
{{- range (.Files.Get "files/rules.yaml" | fromYaml).operator -}}
{{- if or $.Values.readLogs (not (has "pods/log" .resources)) -}}
{{- $rules = append $rules . -}}
{{- end -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}

{{- define "vllm-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "vllm-operator.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/* Labels as `kubectl --selector` takes them. */}}
{{- define "vllm-operator.selector" -}}
{{- $words := list -}}
{{- range $key, $value := . -}}
{{- $words = append $words (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $words -}}
{{- end -}}

{{/* Port of a proxy's address: what stands behind its last colon, if no part of an IPv6 address does. */}}
{{- define "vllm-operator.proxyPort" -}}
{{- $scheme := hasPrefix "https:" . | ternary "443" "80" -}}
{{- regexFind ":[0-9]+/?$" . | trimPrefix ":" | trimSuffix "/" | default $scheme -}}
{{- end -}}

{{- define "vllm-operator.env" -}}
{{- $env := list -}}
{{- with .Values.watchNamespaces -}}
{{- $env = append $env (dict "name" "VLLM_OPERATOR_NAMESPACES" "value" (join "," .)) -}}
{{- end -}}
{{- $env = append $env (dict "name" "VLLM_OPERATOR_WORKERS" "value" (.Values.workers | toString)) -}}
{{- $env = append $env (dict "name" "VLLM_OPERATOR_READ_LOGS" "value" (.Values.readLogs | toString)) -}}
{{- $env = append $env (dict "name" "VLLM_OPERATOR_VERIFY" "value" (.Values.verify.enabled | toString)) -}}
{{- with .Values.verify.proxy -}}
{{- $env = append $env (dict "name" "VLLM_OPERATOR_VERIFY_PROXY" "value" .) -}}
{{- end -}}
{{- $image := include "vllm-operator.image" . -}}
{{- $env = append $env (dict "name" "VLLM_OPERATOR_MICROSERVICE_IMAGE" "value" $image) -}}
{{- $known := .Files.Get "files/images.yaml" | fromYaml -}}
{{- range $device, $default := .Values.defaultImages -}}
{{- $prefix := printf "VLLM_OPERATOR_%s" ($device | upper) -}}
{{- include "vllm-operator.checkImage" (merge (dict "device" $device "known" (get $known $device) "allowed" $.Values.allowedImages) $default) -}}
{{- with $default.image -}}
{{- $env = append $env (dict "name" (printf "%s_IMAGE" $prefix) "value" .) -}}
{{- end -}}
{{- with $default.engine -}}
{{- $env = append $env (dict "name" (printf "%s_ENGINE" $prefix) "value" .) -}}
{{- end -}}
{{- end -}}
{{- with .Values.allowedImages -}}
{{- $env = append $env (dict "name" "VLLM_OPERATOR_ALLOWED_IMAGES" "value" (join "," .)) -}}
{{- end -}}
{{- if .Values.platformAssignsIds -}}
{{- $env = append $env (dict "name" "VLLM_OPERATOR_PLATFORM_ASSIGNS_IDS" "value" "true") -}}
{{- end -}}
{{- range $which, $labels := .Values.gaudiNodes -}}
{{- if $labels -}}
{{- $name := ternary "VLLM_OPERATOR_GAUDI_NODES" (printf "VLLM_OPERATOR_GAUDI_%s_NODES" ($which | upper)) (eq $which "all") -}}
{{- $env = append $env (dict "name" $name "value" (include "vllm-operator.selector" $labels)) -}}
{{- end -}}
{{- end -}}
{{- $field := dict "fieldRef" (dict "fieldPath" "metadata.namespace") -}}
{{- $env = append $env (dict "name" "POD_NAMESPACE" "valueFrom" $field) -}}
{{- include "vllm-operator.checkExtraEnv" . -}}
{{- toYaml (concat $env .Values.extraEnv) -}}
{{- end -}}

{{/* Of two variables of a name Kubernetes takes the last, and a server-side apply neither. */}}
{{- define "vllm-operator.checkExtraEnv" -}}
{{- $set := dict
  "POD_NAMESPACE" "the release's namespace (-n)"
  "VLLM_OPERATOR_ALLOWED_IMAGES" "allowedImages"
  "VLLM_OPERATOR_CPU_ENGINE" "defaultImages.cpu.engine"
  "VLLM_OPERATOR_CPU_IMAGE" "defaultImages.cpu.image"
  "VLLM_OPERATOR_GAUDI_ENGINE" "defaultImages.gaudi.engine"
  "VLLM_OPERATOR_GAUDI_G2_NODES" "gaudiNodes.g2"
  "VLLM_OPERATOR_GAUDI_G3_NODES" "gaudiNodes.g3"
  "VLLM_OPERATOR_GAUDI_IMAGE" "defaultImages.gaudi.image"
  "VLLM_OPERATOR_GAUDI_NODES" "gaudiNodes.all"
  "VLLM_OPERATOR_LEASE_NAMESPACE" "the release's namespace (-n)"
  "VLLM_OPERATOR_MICROSERVICE_IMAGE" "image"
  "VLLM_OPERATOR_NAMESPACES" "watchNamespaces"
  "VLLM_OPERATOR_PLATFORM_ASSIGNS_IDS" "platformAssignsIds"
  "VLLM_OPERATOR_READ_LOGS" "readLogs"
  "VLLM_OPERATOR_VERIFY" "verify.enabled"
  "VLLM_OPERATOR_VERIFY_PROXY" "verify.proxy"
  "VLLM_OPERATOR_WORKERS" "workers"
-}}
{{- $probed := list "VLLM_OPERATOR_HEALTH_ADDRESS" "VLLM_OPERATOR_HEALTH_PORT" -}}
{{- $seen := dict -}}
{{- range $number, $variable := .Values.extraEnv -}}
{{- with get $set $variable.name -}}
{{- fail (printf "extraEnv[%d]: the chart sets %s: use %s" $number $variable.name .) -}}
{{- end -}}
{{- if has $variable.name $probed -}}
{{- fail (printf "extraEnv[%d]: %s: the probes ask port %v at the pod's address: leave it out; service.port is the port of the Service" $number $variable.name ($.Files.Get "files/ports.yaml" | fromYaml).health) -}}
{{- end -}}
{{- if hasKey $seen $variable.name -}}
{{- fail (printf "extraEnv[%d]: %s is there twice" $number $variable.name) -}}
{{- end -}}
{{- $_ := set $seen $variable.name true -}}
{{- end -}}
{{- end -}}

{{- define "vllm-operator.topologySpreadConstraints" -}}
{{- $own := dict "matchLabels" (include "vllm-operator.operatorLabels" . | fromYaml) -}}
{{- $constraints := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- /* Not by merge, which would mix labels of ours into a selector that is given. */ -}}
{{- $constraints = append $constraints (hasKey . "labelSelector" | ternary . (set (deepCopy .) "labelSelector" $own)) -}}
{{- end -}}
{{- toYaml $constraints -}}
{{- end -}}
