"""What one key made: every later call reaches that key, however many there are."""

import io

from openai import ConflictError

from fixture import TestCase


class Resources(TestCase):
    pools = {"good": {"keys": [f"sk-ok-{number}" for number in range(5)], "routes": ["*"]}}

    def test_a_batch_from_its_file_to_its_output(self):
        client = self.client()
        for _ in range(5):
            file = client.files.create(file=io.BytesIO(b'{"custom_id": "1"}\n'), purpose="batch")
            self.assertEqual(client.files.retrieve(file.id).id, file.id)
            batch = client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            batch = client.batches.retrieve(batch.id)
            self.assertEqual(batch.input_file_id, file.id)
            self.assertTrue(client.files.content(batch.output_file_id).read())

    def test_responses_follow_one_another(self):
        client = self.client()
        for _ in range(5):
            first = client.responses.create(model="gpt-4o", input="Hello")
            second = client.responses.create(model="gpt-4o", input="And?", previous_response_id=first.id)
            self.assertEqual(client.responses.retrieve(second.id).id, second.id)

    def test_things_of_two_keys_do_not_meet(self):
        client = self.client()
        files = [client.files.create(file=io.BytesIO(b"x"), purpose="user_data").id for _ in range(2)]
        content = [{"type": "input_file", "file_id": file} for file in files]
        with self.assertRaises(ConflictError) as refusal:
            client.responses.create(model="gpt-4o", input=[{"role": "user", "content": content}])
        self.assertEqual(refusal.exception.code, "resource_keys_differ")
