{{/* What the stages share: values, pods. */}}

{{/* A stage's values over the common ones, as YAML. Arguments: root, stage. */}}
{{- define "mozdef.stage" -}}
{{- $root := index . 0 -}}
{{- mergeOverwrite (deepCopy $root.Values.common) (deepCopy (index $root.Values (index . 1))) | toYaml -}}
{{- end -}}

{{/* The consumer groups of a stage and what they read. Argument: stage. */}}
{{- define "mozdef.reads" -}}
{{- if eq . "normalizer" }}
- {group: mozdef-normalizer, topic: raw}
{{- else if eq . "correlator" }}
- {group: mozdef-match, topic: events}
- {group: mozdef-window, topic: matches}
{{- else if eq . "sink" }}
- {group: mozdef-event-sink, topic: events}
- {group: mozdef-alert-sink, topic: alerts}
{{- else }}
[]
{{- end }}
{{- end -}}

{{/* Pod Security Standard "restricted". */}}
{{- define "mozdef.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}
{{- define "mozdef.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "mozdef.env" -}}
- name: MOZDEF_CONFIG
  value: /etc/mozdef/mozdef.yaml
- name: MOZDEF_INSTANCE
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- with .Values.secrets.kafkaSasl }}
{{- if .name }}
- name: MOZDEF_KAFKA_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where the container finds its files. */}}
{{- define "mozdef.mounts" -}}
- name: config
  mountPath: /etc/mozdef/mozdef.yaml
  subPath: mozdef.yaml
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .Values.secrets.kafkaTls.name }}
- name: kafka-tls
  mountPath: /etc/mozdef/kafka-tls
  readOnly: true
{{- end }}
{{- end -}}

{{/* Arguments: root, name of the ConfigMap. */}}
{{- define "mozdef.volumes" -}}
{{- $root := index . 0 -}}
- name: config
  configMap:
    name: {{ index . 1 }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with $root.Values.secrets.kafkaTls.name }}
- name: kafka-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}
