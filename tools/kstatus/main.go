// Command kstatus judges Kubernetes objects by the library that Flux judges them by: the code of Flux's own copy
// (github.com/fluxcd/cli-utils v1.4.0, pkg/kstatus/status) is that of sigs.k8s.io/cli-utils v0.37.2.
//
// It reads JSON objects from standard input, one after the other, and writes for each one line of JSON with the
// verdict (InProgress, Failed, Current, Terminating, NotFound, Unknown) and its message.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func judge(in io.Reader, out io.Writer) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var text json.RawMessage
		if err := decoder.Decode(&text); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		// As clients read it: a plain map would hold generations as floats, which the library refuses.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(text); err != nil {
			return fmt.Errorf("not an object: %w", err)
		}
		result, err := status.Compute(object)
		if err != nil {
			return err
		}
		verdict := map[string]string{"status": result.Status.String(), "message": result.Message}
		if err := encoder.Encode(verdict); err != nil {
			return err
		}
	}
}

func main() {
	if err := judge(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}
