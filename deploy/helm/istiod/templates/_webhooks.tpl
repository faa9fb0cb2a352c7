{{/*
One webhook. A pod that wants a sidecar is refused while nobody answers; the control plane writes caBundle.
*/}}
{{- define "istiod.webhook" -}}
- name: {{ .prefix }}sidecar-injector.istio.io
  clientConfig:
    service:
      name: {{ include "istiod.name" .root }}
      namespace: {{ .root.Release.Namespace }}
      path: /inject
      port: 443
  sideEffects: None
  rules:
  - operations:
    - CREATE
    apiGroups:
    - ""
    apiVersions:
    - v1
    resources:
    - pods
    scope: "*"
  failurePolicy: Fail
  reinvocationPolicy: {{ .root.Values.sidecarInjectorWebhook.reinvocationPolicy }}
  admissionReviewVersions:
  - v1
{{- end -}}

{{/*
The webhooks for a name: that of the revision or one of its tags. For a pod at most one of them holds.
*/}}
{{- define "istiod.webhooks" -}}
{{ include "istiod.webhook" (dict "root" .root "prefix" "rev.namespace.") }}
  namespaceSelector:
    matchExpressions:
    - key: istio.io/rev
      operator: In
      values:
      - {{ .name | quote }}
    - key: istio-injection
      operator: DoesNotExist
  objectSelector:
    matchExpressions:
    - key: sidecar.istio.io/inject
      operator: NotIn
      values:
      - "false"
{{ include "istiod.webhook" (dict "root" .root "prefix" "rev.object.") }}
  namespaceSelector:
    matchExpressions:
    - key: istio.io/rev
      operator: DoesNotExist
    - key: istio-injection
      operator: DoesNotExist
  objectSelector:
    matchExpressions:
    - key: sidecar.istio.io/inject
      operator: NotIn
      values:
      - "false"
    - key: istio.io/rev
      operator: In
      values:
      - {{ .name | quote }}
{{- if eq .name "default" }}
{{ include "istiod.webhook" (dict "root" .root "prefix" "namespace.") }}
  namespaceSelector:
    matchExpressions:
    - key: istio-injection
      operator: In
      values:
      - enabled
  objectSelector:
    matchExpressions:
    - key: sidecar.istio.io/inject
      operator: NotIn
      values:
      - "false"
{{ include "istiod.webhook" (dict "root" .root "prefix" "object.") }}
  namespaceSelector:
    matchExpressions:
    - key: istio-injection
      operator: DoesNotExist
    - key: istio.io/rev
      operator: DoesNotExist
  objectSelector:
    matchExpressions:
    - key: sidecar.istio.io/inject
      operator: In
      values:
      - "true"
    - key: istio.io/rev
      operator: DoesNotExist
{{- if .root.Values.sidecarInjectorWebhook.enableNamespacesByDefault }}
{{ include "istiod.webhook" (dict "root" .root "prefix" "auto.") }}
  namespaceSelector:
    matchExpressions:
    - key: istio-injection
      operator: DoesNotExist
    - key: istio.io/rev
      operator: DoesNotExist
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values:
      - kube-system
      - kube-public
      - kube-node-lease
      - local-path-storage
  objectSelector:
    matchExpressions:
    - key: sidecar.istio.io/inject
      operator: DoesNotExist
    - key: istio.io/rev
      operator: DoesNotExist
{{- end }}
{{- end }}
{{- end -}}
