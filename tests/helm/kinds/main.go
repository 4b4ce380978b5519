// Command kinds judges Kubernetes manifests with Kubernetes' own code: every
// field must exist in the type of its kind and have the right type, names and
// labels must be legal, and pods must meet the Pod Security Standard "restricted".
//
// In: YAML documents on standard input. Out: one line for each finding, and
// exit code 1 when there is one. Never: a cluster, the network.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	findings, kinds, err := judge(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	for _, finding := range findings {
		fmt.Println(finding)
	}
	if len(findings) > 0 {
		os.Exit(1)
	}
	fmt.Printf("%d objects are right\n", kinds)
}

func judge(in io.Reader) (findings []string, count int, err error) {
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoring.AddToScheme, keda.AddToScheme} {
		if err := add(known); err != nil {
			return nil, 0, err
		}
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, 0, err
	}
	documents := yaml.NewYAMLReader(bufio.NewReader(in))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return findings, count, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if document, err := yaml.ToJSON(text); err == nil && string(document) == "null" {
			continue
		}
		count++
		object, kind, err := decoder.Decode(text, nil, nil)
		if err != nil {
			findings = append(findings, fmt.Sprintf("document %d: %v", count, err))
			continue
		}
		about, err := meta.Accessor(object)
		if err != nil {
			return nil, 0, err
		}
		place := fmt.Sprintf("%s %s", kind.Kind, about.GetName())
		for _, problem := range validation.IsDNS1123Subdomain(about.GetName()) {
			findings = append(findings, place+": name: "+problem)
		}
		for _, problem := range metav1validation.ValidateLabels(about.GetLabels(), field.NewPath("labels")) {
			findings = append(findings, place+": "+problem.Error())
		}
		if template := podTemplate(object); template != nil {
			findings = append(findings, restricted(evaluator, place, template)...)
		}
	}
}

// podTemplate gives the pods that an object makes; nil where it makes none. The chart has no other kinds with pods:
// the test of kinds in ../it/objects.rs holds that.
func podTemplate(object runtime.Object) *corev1.PodTemplateSpec {
	switch object := object.(type) {
	case *appsv1.Deployment:
		return &object.Spec.Template
	case *batchv1.Job:
		return &object.Spec.Template
	default:
		return nil
	}
}

func restricted(evaluator policy.Evaluator, place string, pods *corev1.PodTemplateSpec) (findings []string) {
	level := psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &pods.ObjectMeta, &pods.Spec) {
		if !result.Allowed {
			findings = append(findings, fmt.Sprintf("%s: not restricted: %s: %s", place, result.ForbiddenReason, result.ForbiddenDetail))
		}
	}
	for _, problem := range metav1validation.ValidateLabels(pods.Labels, field.NewPath("pods", "labels")) {
		findings = append(findings, place+": "+problem.Error())
	}
	return findings
}
