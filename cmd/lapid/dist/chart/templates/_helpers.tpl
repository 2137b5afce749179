{{- define "lapid.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "lapid.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains (include "lapid.name" .) .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "lapid.name" .) | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "lapid.service" -}}
{{- .Values.serviceNameOverride | default (printf "%s-service" (include "lapid.fullname" .)) -}}
{{- end -}}

{{- define "lapid.selector" -}}
app.kubernetes.io/name: {{ include "lapid.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lapid.labels" -}}
{{ include "lapid.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
k8s-app: {{ .Release.Name }}
type: lapi
{{- end -}}

{{- define "lapid.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "lapid.tlsSecret" -}}
{{- .Values.tls.lapi.secret | default (printf "%s-tls" (include "lapid.fullname" .)) -}}
{{- end -}}

{{/* Names by which the Service is known in the cluster. */}}
{{- define "lapid.hosts" -}}
{{- $service := include "lapid.service" . -}}
{{- range list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) (printf "%s.%s.svc.cluster.local" $service .Release.Namespace) }}
- {{ . }}
{{- end }}
{{- end -}}

{{/* The variable of one secret: context root, name, entry, key in our secret, usual key in theirs. */}}
{{- define "lapid.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      {{- if .entry.existingSecret }}
      name: {{ .entry.existingSecret }}
      key: {{ .entry.existingSecretKey | default .usual }}
      {{- else }}
      name: {{ include "lapid.fullname" .root }}-secrets
      key: {{ .key }}
      {{- end }}
{{- end -}}

{{/* What makes a pod a node of a cluster. Others reach it at its name below the headless Service. */}}
{{- define "lapid.clusterVariables" -}}
{{- with .Values.cluster -}}
{{- if .enabled -}}
- name: LAPID_CLUSTER_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: LAPID_CLUSTER_LISTEN
  value: 0.0.0.0:7422
- name: LAPID_CLUSTER_ADVERTISE
  value: $(LAPID_CLUSTER_NAME).{{ include "lapid.fullname" $ }}-headless.{{ $.Release.Namespace }}.svc:7422
- name: LAPID_CLUSTER_CERT_FILE
  value: /etc/lapid-cluster/$(LAPID_CLUSTER_NAME).pem
- name: LAPID_CLUSTER_KEY_FILE
  value: /etc/lapid-cluster/$(LAPID_CLUSTER_NAME)-key.pem
- name: LAPID_CLUSTER_CA_FILE
  value: /etc/lapid-cluster/ca.pem
- name: LAPID_CLUSTER_SEAL_FILE
  value: /etc/lapid-cluster/cluster.key
- name: LAPID_CLUSTER_ETCD_ENDPOINTS
  value: {{ join "," (.etcd.endpoints | default list) | required "cluster.etcd.endpoints is missing" | quote }}
{{- with .etcd.prefix }}
- name: LAPID_CLUSTER_ETCD_PREFIX
  value: {{ . }}
{{- end }}
{{- if .etcd.secret }}
- name: LAPID_CLUSTER_ETCD_CERT_FILE
  value: /etc/lapid-etcd/tls.crt
- name: LAPID_CLUSTER_ETCD_KEY_FILE
  value: /etc/lapid-etcd/tls.key
- name: LAPID_CLUSTER_ETCD_CA_FILE
  value: /etc/lapid-etcd/ca.crt
{{- end }}
{{- with .etcd.user }}
- name: LAPID_CLUSTER_ETCD_USER
  value: {{ . | quote }}
{{- end }}
{{- if .etcd.passwordSecret }}
- name: LAPID_CLUSTER_ETCD_PASSWORD_FILE
  value: /etc/lapid-etcd-password/password
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lapid.configFiles" -}}
{{- $files := dict -}}
{{- range $name := list "config.yaml.local" "profiles.yaml" "console.yaml" "capi_whitelists.yaml" -}}
{{- with index $.Values.config $name -}}{{- $_ := set $files $name . -}}{{- end -}}
{{- end -}}
{{- $own := index .Values.config "lapid.yaml" -}}
{{- if .Values.console.enabled -}}
{{- $hosts := concat (include "lapid.hosts" . | fromYamlArray) .Values.console.hosts -}}
{{- with .Values.console.ingress.host -}}{{- $hosts = append $hosts . -}}{{- end -}}
{{- $console := dict "listen" "0.0.0.0:8081" "tls" .Values.tls.enabled "hosts" $hosts -}}
{{- with .Values.console.trustedProxies -}}{{- $_ := set $console "trusted_proxies" . -}}{{- end -}}
{{- $own = printf "%s%s" (toYaml (dict "console" $console)) (ternary (printf "\n%s" $own) "" (ne $own "")) -}}
{{- end -}}
{{- with $own -}}{{- $_ := set $files "lapid.yaml" . -}}{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{- define "lapid.ingress" -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "lapid.labels" .root | nindent 4 }}
  {{- with .ingress.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .ingress.ingressClassName }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .ingress.tls }}
  tls:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - host: {{ required (printf "%s.host is missing" .path) .ingress.host | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ include "lapid.service" .root }}
                port:
                  name: {{ .port }}
{{- end -}}

{{- define "lapid.monitorRelabelings" -}}
# The rules want a job that is called lapid.
- targetLabel: job
  replacement: lapid
- sourceLabels: [__meta_kubernetes_pod_node_name]
  targetLabel: machine
{{- with . }}
{{ toYaml . }}
{{- end }}
{{- end -}}
